import pytest

from rocketnpu.errors import InputError
from rocketnpu.labels import read_labels


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / "labels.txt"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.mark.parametrize(
    "text",
    [
        "background\nhen\ncock\n",
        "background\nhen\ncock",
        "\ufeffbackground\r\n hen \r\ncock\r\n\r\n",
        "hen\ncock\n",
        "0 background\n1 hen\n2 cock\n",
        "0: background\n1:hen\n2 : cock\n",
        "0,background\n1, hen\n2\tcock\n",
        "1 hen\n2 cock\n",
        "0 hen\n1 cock\n",
        "2 cock\n1 hen\n0 background\n",
        "1 background\n2 hen\n3 cock\n",
    ],
)
def test_every_style(write, text):
    assert read_labels(write(text), 3) == ("background", "hen", "cock")


def test_names_that_only_begin_like_numbers_stay_whole(write):
    assert read_labels(write("1 way street\n8-ball\n"), 2) == ("1 way street", "8-ball")


def test_names_keep_their_commas_and_letters(write):
    assert read_labels(write("tench, Tinca tinca\ncafé\n"), 2) == ("tench, Tinca tinca", "café")


def test_an_empty_line_inside_keeps_its_place(write):
    assert read_labels(write("a\n\nc\n"), 3) == ("a", "", "c")


def test_numbers_with_gaps_are_indices(write):
    assert read_labels(write("1 hen\n3 cock\n"), 5) == ("class 0", "hen", "class 2", "cock", "class 4")


def test_numbers_beyond_the_outputs(write):
    with pytest.raises(InputError, match="a label for output 7, but the model has 5 outputs"):
        read_labels(write("1 hen\n7 cock\n"), 5)


def test_a_number_given_twice(write):
    with pytest.raises(InputError, match="number 4 is given twice"):
        read_labels(write("3 a\n4 b\n4 c\n"), 9)


@pytest.mark.parametrize("outputs", [1, 4, 5, 1001])
def test_a_count_that_does_not_fit(write, outputs):
    with pytest.raises(InputError, match=rf"has 2 labels, but the model has {outputs} outputs \(or {outputs - 1} with"):
        read_labels(write("a\nb\n"), outputs)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"a\n\xff\n", r"is not UTF-8 text \(at byte 2\)"),
        (b"a" * 5_000_000, "more than the 4194304 that are read"),
    ],
)
def test_what_is_no_labels_file(write, content, reason):
    with pytest.raises(InputError, match=reason):
        read_labels(write(content), 2)


def test_missing_and_folder(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read_labels(tmp_path / "none.txt", 2)
    with pytest.raises(InputError, match="it is a folder"):
        read_labels(tmp_path, 2)
