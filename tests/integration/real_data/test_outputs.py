"""What models return: probabilities, tuples, dicts, auxiliary outputs; `output=`."""

from collections import namedtuple

import pytest
from helpers.real_data import Classifier, Probabilities, callback, check, network, pairs, run
from helpers.training import QUIET
from torch import nn
from torch.nn import functional as F

pytestmark = QUIET


def test_softmax_in_forward(tmp_path):
    done = run(tmp_path, Probabilities(), pairs())
    check(done)
    assert "probabilities of a softmax" in done.fact("scores")


def test_softmax_as_the_last_module(tmp_path):
    class Module(Probabilities):
        def forward(self, images):
            return self.net(images)

    done = run(tmp_path, Module(nn.Sequential(network(), nn.Softmax(dim=1))), pairs())
    check(done)
    assert "probabilities of a softmax" in done.fact("scores")


def test_sigmoid_in_forward(tmp_path):
    class Module(Classifier):
        def forward(self, images):
            return self.net(images).sigmoid()[:, 0]

        def training_step(self, batch, batch_idx):
            images, labels = batch
            return F.binary_cross_entropy(self(images), (labels > 0).float())

        def validation_step(self, batch, batch_idx):
            images, labels = batch
            positive = self(images)
            self.record(images, labels, nn.functional.pad(positive[:, None], (1, 0)))

    from helpers.real_data import data_of, picture  # two classes of three

    data = data_of(lambda i, _: (picture(i, i % 2), i % 2))
    module = Module(network(1))
    done = run(tmp_path, module, data)
    for row, (image, label, positive) in enumerate(module.seen):
        module.seen[row] = image, label, nn.functional.pad(positive[1:], (1, 0))
        module.seen[row][2][0] = 1 - positive[1]
    check(done)
    assert "probabilities of a sigmoid" in done.fact("scores")


def test_log_softmax_in_forward(tmp_path):
    class Module(Classifier):
        def forward(self, images):
            return F.log_softmax(self.net(images), dim=1)

        def training_step(self, batch, batch_idx):
            images, labels = batch
            return F.nll_loss(self(images), labels)

        def validation_step(self, batch, batch_idx):
            images, labels = batch
            self.record(images, labels, self(images).exp())

    check(run(tmp_path, Module(), pairs()))


class Heads(Classifier):
    """Returns more than the class scores."""

    def __init__(self):
        super().__init__()
        self.body, self.head, self.aux = network(8), nn.Linear(8, 3), nn.Linear(8, 3)

    def logits(self, images):
        found = self(images)
        return found["logits"] if isinstance(found, dict) else found.logits


def test_embedding_and_logits_in_a_tuple(tmp_path):
    class Module(Heads):
        def forward(self, images):
            embedding = self.body(images)
            return embedding, self.head(embedding)

        def logits(self, images):
            return self(images)[1]

    done = run(tmp_path, Module(), pairs(), cam=callback(class_names=("a", "b", "c")))
    check(done)
    assert "output[1]" in done.fact("output")


def test_embedding_and_logits_in_a_tuple_without_class_names(tmp_path):
    class Module(Heads):
        def forward(self, images):
            embedding = self.body(images)
            return embedding, self.head(embedding)

        def logits(self, images):
            return self(images)[1]

    done = run(tmp_path, Module(), pairs())
    check(done)
    assert "output[1]" in done.fact("output")


def test_logits_and_auxiliary_logits_in_a_tuple(tmp_path):
    class Module(Heads):
        def forward(self, images):
            found = self.body(images)
            return self.head(found), self.aux(found)

        def logits(self, images):
            return self(images)[0]

    done = run(tmp_path, Module(), pairs())
    check(done, notes=("output[1] might be the class scores too",))
    assert "output[0]" in done.fact("output")


def test_auxiliary_logits_while_training_only(tmp_path):
    class Module(Heads):
        def forward(self, images):
            found = self.body(images)
            return (self.head(found), self.aux(found)) if self.training else self.head(found)

        def training_step(self, batch, batch_idx):
            images, labels = batch
            return sum(F.cross_entropy(each, labels) for each in self(images))

        def logits(self, images):
            return self(images)

    check(run(tmp_path, Module(), pairs()))


class Embedded(Heads):
    def forward(self, images):
        embedding = self.body(images)
        return {"embedding": embedding, "logits": self.head(embedding)}


def test_dict_of_outputs(tmp_path):
    done = run(tmp_path, Embedded(), pairs())
    check(done)
    assert "output[logits]" in done.fact("output")


Output = namedtuple("Output", ["features", "logits"])  # noqa: PYI024


def test_named_tuple_of_outputs(tmp_path):
    class Module(Heads):
        def forward(self, images):
            found = self.body(images)
            return Output(found, self.head(found))

    check(run(tmp_path, Module(), pairs()))


class Nested(Heads):
    """Two heads of the same size: only the user knows which of them counts."""

    def forward(self, images):
        found = self.body(images)
        return {"first": {"scores": self.aux(found)}, "second": [self.head(found), found]}

    def logits(self, images):
        return self(images)["second"][0]


def select(output):
    return output["second"][0]


@pytest.mark.parametrize("part", ["second[0]", "[second][0]", "second.0", select])
def test_output_as_a_path_or_a_function(tmp_path, part):
    check(run(tmp_path, Nested(), pairs(), cam=callback(output=part)))


def test_output_as_a_key(tmp_path):
    class Module(Heads):
        def forward(self, images):
            found = self.body(images)
            return {"coarse": self.aux(found), "fine": self.head(found)}

        def logits(self, images):
            return self(images)["fine"]

    check(run(tmp_path, Module(), pairs(), cam=callback(output="fine")))


def test_output_as_an_index(tmp_path):
    class Module(Heads):
        def forward(self, images):
            found = self.body(images)
            return self.aux(found), self.head(found)

        def logits(self, images):
            return self(images)[1]

    check(run(tmp_path, Module(), pairs(), cam=callback(output=1)))
    check(run(tmp_path / "last", Module(), pairs(), cam=callback(output=-1)))


def test_output_that_does_not_exist(tmp_path):
    with pytest.raises(ValueError, match=r"output='logit', got \[embedding\].*\[logits\]"):
        run(tmp_path, Embedded(), pairs(), cam=callback(output="logit"))


def test_probabilities_that_only_the_user_knows(tmp_path):
    """Divided by their sum by hand: no operation says that these are probabilities."""

    class Module(Probabilities):
        def activation(self, logits):
            weights = logits.exp()
            return weights / weights.sum(dim=1, keepdim=True)

    done = run(tmp_path, Module(), pairs(), cam=callback(scores="probabilities"))
    check(done)
    check(run(tmp_path / "auto", Module(), pairs()))
