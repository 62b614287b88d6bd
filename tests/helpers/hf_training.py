"""Small trainings with Hugging Face's `Trainer`."""

import torch
import transformers
from torch import nn
from torch.nn import functional as F

from helpers.training import Squares, convnet


class Classifier(nn.Module):
    """The network of `helpers.training.Module`, called as the `Trainer` does."""

    def __init__(self, net=None):
        super().__init__()
        torch.manual_seed(0)
        self.net = convnet() if net is None else net

    def forward(self, pixel_values, labels=None):
        logits = self.net(pixel_values)
        loss = None if labels is None else F.cross_entropy(logits, labels)
        return {"logits": logits} if loss is None else {"loss": loss, "logits": logits}


class Samples(Squares):
    """Squares as samples that `default_data_collator` takes."""

    def __getitem__(self, index):
        image, label, _ = super().__getitem__(index)
        return {"pixel_values": image, "labels": label}


class InOrder(transformers.Trainer):
    """Takes the training samples in their order, as `helpers.training.fit` does."""

    def _get_train_sampler(self, *_):
        return torch.utils.data.SequentialSampler(self.train_dataset)


def arguments(folder, **settings):
    """Return the arguments of a quiet training on CPU."""
    defaults = {
        "output_dir": str(folder),
        "num_train_epochs": 1,
        "per_device_train_batch_size": 4,
        "per_device_eval_batch_size": 4,
        "eval_strategy": "epoch",
        "save_strategy": "no",
        "logging_strategy": "epoch",
        "report_to": [],
        "max_grad_norm": 0.0,
        "use_cpu": True,
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "dataloader_pin_memory": False,
    }
    return transformers.TrainingArguments(**{**defaults, **settings})


def make_trainer(folder, *callbacks, model=None, processing_class=None, **settings):
    """Return a trainer of sixteen squares that makes the same steps as `helpers.training.fit`."""
    model = Classifier() if model is None else model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)
    eval_dataset = settings.pop("eval_dataset", Samples(16, seed=0))
    return InOrder(
        model=model,
        args=arguments(folder, **settings),
        train_dataset=Samples(),
        eval_dataset=eval_dataset,
        data_collator=transformers.default_data_collator,
        optimizers=(optimizer, schedule),
        callbacks=list(callbacks),
        processing_class=processing_class,
    )
