"""Hostile and damaged JSON and XML: one ValueError that names the file."""

import pytest

from lightning_cam.probe.annotations.files import Source, read_json, read_xml, reading, text_of

LAUGHS = """<?xml version="1.0"?>
<!DOCTYPE annotation [
 <!ENTITY a "ha">
 <!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">
 <!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">
]><annotation><object><name>&c;</name></object></annotation>"""
OUTSIDE = """<!DOCTYPE annotation [<!ENTITY x SYSTEM "file:///etc/passwd">]>
<annotation><name>&x;</name></annotation>"""
REMOTE = '<!DOCTYPE annotation SYSTEM "http://localhost/a.dtd"><annotation/>'


@pytest.mark.parametrize("text", [LAUGHS, OUTSIDE, REMOTE])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_document_type_is_refused_before_anything_in_it_is_read(tmp_path, text, encoding):
    file = tmp_path / "a.xml"
    file.write_bytes(text.replace('<?xml version="1.0"?>\n', "").encode(encoding))
    with pytest.raises(ValueError, match="without a document type"):
        read_xml(file)


def test_an_entity_without_a_document_type_is_no_xml(tmp_path):
    file = tmp_path / "a.xml"
    file.write_text("<annotation>&x;</annotation>")
    with pytest.raises(ValueError, match="expected XML, got undefined entity"):
        read_xml(file)


@pytest.mark.parametrize("text", ["", "<a>", "<a></b>", "{}", "\x00"])
def test_damaged_xml(tmp_path, text):
    file = tmp_path / "a.xml"
    file.write_text(text)
    with pytest.raises(ValueError, match="expected XML"):
        read_xml(file)


def test_elements_nested_a_hundred_thousand_deep_end_nothing(tmp_path):
    file = tmp_path / "a.xml"
    file.write_text("<a>" * 100_000 + "</a>" * 100_000)
    assert read_xml(file).tag == "a"


def test_xml_as_it_should_be(tmp_path):
    file = tmp_path / "a.xml"
    file.write_text('<a x="1"><b> t&amp;u </b><c/></a>')
    root = read_xml(file)
    assert (root.get("x"), text_of(root, "b")) == ("1", "t&u")
    with pytest.raises(ValueError, match="expected <c> in <a>"):
        text_of(root, "c")


@pytest.mark.parametrize("text", ["", "{", "[" * 200_000, "\ud800"])
def test_damaged_json(tmp_path, text):
    file = tmp_path / "a.json"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ValueError), reading(file, "COCO"):
        read_json(file)


def test_a_source_is_read_once_and_only_as_what_it_is(tmp_path):
    file = tmp_path / "a.JSON"
    file.write_text("[1]")
    source = Source(file)
    assert source.json is source.json
    assert source.xml is None
    assert Source(tmp_path).json is None


def test_errors_name_the_file_once(tmp_path):
    inner = tmp_path / "inner"
    with pytest.raises(ValueError) as caught, reading(tmp_path, "A"), reading(inner, "B"):
        raise KeyError("part")
    assert str(caught.value) == f"expected a sound B file, got {inner}: no 'part'"
    with pytest.raises(OSError, match="gone"), reading(tmp_path, "A"):
        raise OSError("gone")
