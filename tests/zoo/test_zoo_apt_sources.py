import os

import pytest

from rocketnpu.zoo.apt_sources import AptArchive, debian_archives


@pytest.fixture
def lists(tmp_path):
    (tmp_path / "sources.list.d").mkdir()

    def write(name, text):
        (tmp_path / name).write_text(text)
        return tmp_path

    return write


def uris(folder):
    return [archive.uri for archive in debian_archives(folder)]


def test_no_lists(tmp_path):
    assert debian_archives(tmp_path / "nowhere") == ()


def test_lists_that_are_pipes_or_endless(lists):
    folder = lists("sources.list", "deb http://mirror.invalid/debian trixie main\n")
    os.mkfifo(folder / "sources.list.d" / "a.list")
    (folder / "sources.list.d" / "b.sources").symlink_to("/dev/zero")
    with (folder / "sources.list.d" / "c.list").open("wb") as sparse:
        sparse.truncate(1 << 33)
    assert uris(folder) == ["http://mirror.invalid/debian"]


@pytest.mark.parametrize(
    "line",
    [
        "deb http://mirror.invalid/debian bookworm main",
        "deb-src  http://mirror.invalid/debian\tstable main contrib  # ours",
        "deb [arch=arm64 trusted=yes] http://mirror.invalid/debian trixie-updates contrib main",
        "  deb http://mirror.invalid/debian some-future-name main",
    ],
)
def test_one_line_entries(lists, line):
    assert uris(lists("sources.list", line + "\n")) == ["http://mirror.invalid/debian"]


@pytest.mark.parametrize(
    "line",
    [
        "# deb http://mirror.invalid/debian bookworm main",
        "deb http://mirror.invalid/debian-security bookworm-security main",
        "deb http://mirror.invalid/debian bookworm contrib",
        "deb http://mirror.invalid/ubuntu noble main",
        "deb [arch=amd64] https://download.invalid/linux/debian bookworm stable",
        "deb cdrom:[Debian GNU/Linux 12] bookworm main",
        "deb http://mirror.invalid/debian",
        "nonsense",
    ],
)
def test_what_is_no_main_archive(lists, line):
    assert uris(lists("sources.list", line + "\n")) == []


DEB822 = """\
# The system's
Types: deb
URIs: http://mirror.invalid/debian/
 http://second.invalid/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.invalid/debian-security
Suites: bookworm-security
Components: main

Enabled: no
Types: deb
URIs: http://off.invalid/debian
Suites: bookworm
Components: main
"""


def test_stanzas(lists):
    folder = lists("sources.list.d/debian.sources", DEB822)
    first, second = debian_archives(folder)
    assert (first.uri, second.uri) == ("http://mirror.invalid/debian/", "http://second.invalid/debian")
    assert first.stanza("trixie") == (
        "Types: deb-src\n"
        "URIs: http://mirror.invalid/debian/\n"
        "Suites: trixie\n"
        "Components: main\n"
        "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
    )


def test_a_key_inside_the_stanza_is_kept_verbatim(lists):
    key = " -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQINBGPL\n -----END PGP PUBLIC KEY BLOCK-----"
    text = f"Types: deb\nURIs: http://a.invalid/debian\nSuites: sid\nComponents: main\nSigned-By:\n{key}\n"
    (archive,) = debian_archives(lists("sources.list.d/a.sources", text))
    assert archive.stanza("trixie").endswith(f"Signed-By: \n{key}\n")


def test_options_of_a_line_are_kept(lists):
    text = "deb [arch=arm64 signed-by=/k/debian.gpg trusted=yes lang=en] http://a.invalid/debian sid main\n"
    (archive,) = debian_archives(lists("sources.list", text))
    assert archive == AptArchive("http://a.invalid/debian", (("Signed-By", "/k/debian.gpg"), ("Trusted", "yes")))


def test_the_likeliest_comes_first_and_each_once(lists):
    lists("sources.list", "deb http://vendor.invalid/apt bookworm main\ndeb http://m.invalid/debian bookworm main\n")
    lists("sources.list.d/b.list", "deb http://m.invalid/debian/ bookworm-updates main\n")
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    folder = lists("sources.list.d/c.list", f"deb [signed-by={keyring}] http://keyed.invalid/d bookworm main\n")
    assert uris(folder) == ["http://keyed.invalid/d", "http://m.invalid/debian", "http://vendor.invalid/apt"]


def test_other_files_are_not_read(lists):
    line = "deb http://mirror.invalid/debian bookworm main\n"
    lists("sources.list.d/a.list.disabled", line)
    assert uris(lists("sources.list.d/a.save", line)) == []


def test_a_list_that_cannot_be_read_is_left_out(lists):
    folder = lists("sources.list", "deb http://mirror.invalid/debian bookworm main\n")
    (folder / "sources.list.d" / "closed.list").mkdir()
    (folder / "sources.list.d" / "odd.sources").write_bytes(b"\xff\xfe\n continued\nURIs: \xff\n")
    assert uris(folder) == ["http://mirror.invalid/debian"]
