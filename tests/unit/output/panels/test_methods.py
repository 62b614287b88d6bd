"""Panel `methods`: maps of several methods and layers side by side."""

from helpers.scenes import KEY, OTHER, draw, probe_of, spot, spots


def test_there_is_none_for_a_single_map():
    assert draw(probe_of(), spots([0]), panels=["methods"]) == {}


def test_there_is_a_column_per_method_and_layer():
    third = ("hirescam", "layer4")
    two = [{KEY: spot(4, 0), OTHER: spot(4, 15)}]
    three = [{**two[0], third: spot(4, 7)}]
    narrow, wide = (draw(probe_of(), maps, panels=["methods"])["methods"] for maps in (two, three))
    assert narrow.caption == "gradcam at layer4, layercam at layer3"
    assert wide.caption == "gradcam at layer4, layercam at layer3, hirescam at layer4"
    assert wide.pixels.shape[1] - narrow.pixels.shape[1] == 128 + 6
