"""Where images are normalised: the model is fed the same as in training, and people see colours."""

import lightning.pytorch as pl
import pytest
import torch
from helpers.real_data import (
    MEAN,
    STD,
    Classifier,
    bytes_of,
    callback,
    check,
    check_pictures,
    data_of,
    labels_of,
    network,
    normalised,
    pairs,
    picture,
    run,
)
from helpers.training import QUIET
from torch import nn
from torch.utils.data import DataLoader, Dataset, default_collate
from torchvision.transforms import v2

pytestmark = QUIET


class Transformed(Dataset):
    def __init__(self, transform):
        self.labels = labels_of(18)
        self.transform = transform

    def __len__(self):
        return 18

    def __getitem__(self, index):
        return self.transform(picture(index, self.labels[index])), self.labels[index]


def test_in_the_transform_of_the_data_set(tmp_path):
    data = Transformed(v2.Compose([v2.Normalize(MEAN, STD)]))
    done = run(tmp_path, Classifier(), DataLoader(data, batch_size=6))
    check(done)
    check_pictures(done)
    assert done.fact("normalization") == "the data set's Normalize transform"


def test_in_a_function_of_ones_own(tmp_path):
    """Nothing names mean and std: they are unknown and that is said."""
    data = data_of(lambda i, label: (normalised(picture(i, label)), label))
    done = run(tmp_path, Classifier(), data)
    check(done)
    assert "unknown" in done.fact("normalization")
    assert "give mean= and std=" in done.fact("normalization")


def test_in_a_function_of_ones_own_with_mean_and_std_given(tmp_path):
    data = data_of(lambda i, label: (normalised(picture(i, label)), label))
    done = run(tmp_path, Classifier(), data, cam=callback(mean=MEAN, std=STD))
    check(done)
    check_pictures(done)
    assert done.fact("normalization") == "mean and std as given"


def test_in_the_collate_function(tmp_path):
    def collate(items):
        images, labels = default_collate(items)
        return normalised(images), labels

    done = run(tmp_path, Classifier(), pairs(collate_fn=collate))
    check(done)
    check_pictures(done)
    assert "measured" in done.fact("normalization")


class AfterTransfer(Classifier):
    def on_after_batch_transfer(self, batch, dataloader_idx):
        images, labels = batch
        return normalised(images), labels


def test_in_the_module_after_the_transfer(tmp_path):
    done = run(tmp_path, AfterTransfer(), pairs())
    check(done)
    check_pictures(done)


def test_in_the_module_before_the_transfer(tmp_path):
    class Module(Classifier):
        def on_before_batch_transfer(self, batch, dataloader_idx):
            images, labels = batch
            return normalised(images), labels

    done = run(tmp_path, Module(), pairs())
    check(done)
    check_pictures(done)


def test_in_the_module_where_batches_are_transferred(tmp_path):
    class Module(Classifier):
        def transfer_batch_to_device(self, batch, device, dataloader_idx):
            images, labels = super().transfer_batch_to_device(batch, device, dataloader_idx)
            return normalised(images), labels

    done = run(tmp_path, Module(), pairs())
    check(done)
    check_pictures(done)


class Data(pl.LightningDataModule):
    class_names = ("disc", "ring", "cross")

    def train_dataloader(self):
        return pairs(shuffle=True)

    def val_dataloader(self):
        return pairs()

    def on_after_batch_transfer(self, batch, dataloader_idx):
        images, labels = batch
        return normalised(images), labels


def test_in_the_datamodule_after_the_transfer(tmp_path):
    done = run(tmp_path, Classifier(), datamodule=Data())
    check(done)
    check_pictures(done)


def test_class_names_of_the_datamodule(tmp_path):
    done = run(tmp_path, Classifier(), datamodule=Data())
    assert done.probe.class_names == ("disc", "ring", "cross")
    assert done.fact("class names") == "3, Data.class_names"


class FirstLayer(nn.Module):
    def forward(self, images):
        return normalised(images)


def test_in_the_first_layer_of_the_model(tmp_path):
    """What the model is fed is not normalised yet, so the images are drawn as they are."""
    done = run(tmp_path, Classifier(nn.Sequential(FirstLayer(), network())), pairs())
    check(done)
    check_pictures(done)


def test_in_a_normalize_transform_inside_the_model(tmp_path):
    class Module(Classifier):
        def __init__(self):
            super().__init__()
            self.normalize = v2.Normalize(MEAN, STD)

        def forward(self, images):
            return self.net(self.normalize(images))

    done = run(tmp_path, Module(), pairs())
    check(done)
    check_pictures(done)


def test_random_transform_after_normalisation_with_mean_and_std_given(tmp_path):
    """A random affine transform hides how images were normalised; the user says it."""
    turn = v2.RandomAffine(20)

    def item(i, label):
        torch.manual_seed(i)  # the validation data must be the same each time
        return normalised(turn(picture(i, label))), label

    done = run(tmp_path, Classifier(), data_of(item), cam=callback(mean=MEAN, std=STD))
    check(done)

    def turned(i, label):
        torch.manual_seed(i)
        return turn(picture(i, label))

    check_pictures(done, turned)


def test_augmentation_in_the_module_while_training_only(tmp_path):
    class Module(Classifier):
        def on_after_batch_transfer(self, batch, dataloader_idx):
            images, labels = batch
            images = normalised(images)
            if self.trainer.training:
                images = (images + torch.randn_like(images)).flip(-1)
            return images, labels

    done = run(tmp_path, Module(), pairs())
    check(done)
    check_pictures(done)


def test_augmentation_in_the_module_by_its_own_mode(tmp_path):
    class Module(Classifier):
        def on_after_batch_transfer(self, batch, dataloader_idx):
            images, labels = batch
            return (images.flip(-1) if self.training else images), labels

    done = run(tmp_path, Module(), pairs(), num_sanity_val_steps=0)
    check(done)
    check_pictures(done)


def test_hook_that_renames_the_fields(tmp_path):
    class Module(Classifier):
        def on_after_batch_transfer(self, batch, dataloader_idx):
            return {"x": normalised(batch["photo"]), "y": batch["kind"].long()}

        def read(self, batch):
            return batch["x"], batch["y"]

    data = data_of(lambda i, label: {"photo": picture(i, label), "kind": float(label)})
    done = run(tmp_path, Module(), data)
    check(done)
    check_pictures(done)


# --- ranges and channels -------------------------------------------------------------------------


def test_bytes_converted_in_forward(tmp_path):
    class Module(Classifier):
        def forward(self, images):
            return self.net(images.float() / 255)

    data = data_of(lambda i, label: (bytes_of(picture(i, label)), label))
    done = run(tmp_path, Module(), data)
    check(done)
    check_pictures(done)


def test_bytes_converted_after_the_transfer(tmp_path):
    class Module(Classifier):
        def on_after_batch_transfer(self, batch, dataloader_idx):
            images, labels = batch
            return normalised(images.float() / 255), labels

    data = data_of(lambda i, label: (bytes_of(picture(i, label)), label))
    done = run(tmp_path, Module(), data)
    check(done)
    check_pictures(done)


def test_floats_from_0_to_255(tmp_path):
    data = data_of(lambda i, label: (picture(i, label) * 255, label))
    done = run(tmp_path, Classifier(nn.Sequential(nn.BatchNorm2d(3), network())), data)
    check(done)
    check_pictures(done)
    assert "0 to 255" in done.fact("normalization")


def test_images_of_twelve_bits(tmp_path):
    """Floats from 0 to 4095: unknown to the callback, so their own range is shown."""
    data = data_of(lambda i, label: (picture(i, label, channels=1) * 4095, label))
    net = nn.Sequential(nn.BatchNorm2d(1), network(channels=1))
    done = run(tmp_path, Classifier(net), data)
    check(done)
    assert "rescaled" in done.fact("normalization")


def test_images_of_twelve_bits_with_mean_and_std_given(tmp_path):
    data = data_of(lambda i, label: (picture(i, label, channels=1) * 4095, label))
    net = nn.Sequential(nn.BatchNorm2d(1), network(channels=1))
    done = run(tmp_path, Classifier(net), data, cam=callback(mean=0.0, std=1 / 4095))
    check(done)
    check_pictures(done, lambda i, label: picture(i, label, channels=1))


@pytest.mark.parametrize("channels", [1, 2, 4, 6])
def test_images_of_other_channels(tmp_path, channels):
    data = data_of(lambda i, label: (picture(i, label, channels), label))
    done = run(tmp_path, Classifier(network(channels=channels)), data)
    check(done)
    check_pictures(done, lambda i, label: picture(i, label, channels))


def test_one_channel_normalised_in_the_collate_function(tmp_path):
    def collate(items):
        images, labels = default_collate(items)
        return normalised(images, MEAN[:1], STD[:1]), labels

    def grey(i, label):
        return picture(i, label, channels=1)

    data = data_of(lambda i, label: (grey(i, label), label), collate_fn=collate)
    done = run(tmp_path, Classifier(network(channels=1)), data)
    check(done)
    check_pictures(done, grey)
