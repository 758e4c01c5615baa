import os
import stat

import pytest

from sksngp._runtime.files import write_atomically


def test_a_new_file_and_a_replaced_one(tmp_path):
    path = tmp_path / "file"
    for content in (b"one", b"two"):
        write_atomically(path, lambda stream, content=content: stream.write(content))
        assert path.read_bytes() == content
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left"), KeyboardInterrupt, MemoryError]
)
def test_failed_write_keeps_the_old_file(tmp_path, error):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def write(stream):
        stream.write(b"half")
        raise error

    with pytest.raises(error if isinstance(error, type) else OSError):
        write_atomically(path, write)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_killed_process_leaves_the_old_file(tmp_path, run_python):
    """If the process is killed while writing, no clean-up code runs."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    code = """
        import os, signal, sys
        from sksngp._runtime.files import write_atomically

        def write(stream):
            stream.write(b"half")
            stream.flush()
            os.kill(os.getpid(), signal.SIGKILL)

        write_atomically(sys.argv[1], write)
    """
    assert run_python(code, path).returncode == -9
    assert path.read_bytes() == b"old"


def test_permissions_are_kept_and_links_written_through(tmp_path):
    path, link = tmp_path / "file", tmp_path / "link"
    path.write_bytes(b"old")
    path.chmod(0o640)
    link.symlink_to(path)
    write_atomically(link, lambda stream: stream.write(b"new"))
    assert link.is_symlink()
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.slow
def test_the_next_writer_removes_what_a_killed_one_left(tmp_path, run_python):
    path, other = tmp_path / "file", tmp_path / ".file.notes.tmp"
    other.write_bytes(b"of somebody else")
    code = """
        import os, signal, sys
        from sksngp._runtime.files import write_atomically

        write_atomically(sys.argv[1], lambda _: os.kill(os.getpid(), signal.SIGKILL))
    """
    assert run_python(code, path).returncode == -9
    assert len(os.listdir(tmp_path)) == 2
    write_atomically(path, lambda stream: stream.write(b"new"))
    assert sorted(os.listdir(tmp_path)) == [other.name, "file"]


def test_temporary_files_in_use_are_kept(tmp_path):
    path = tmp_path / "file"

    def write(stream):
        write_atomically(path, lambda inner: inner.write(b"inner"))
        stream.write(b"outer")

    write_atomically(path, write)
    assert path.read_bytes() == b"outer"
    assert os.listdir(tmp_path) == ["file"]


def test_pipes_and_devices_are_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/null", tmp_path):
        with pytest.raises(OSError, match="not a regular file"):
            write_atomically(path, lambda stream: None)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder .*missing"):
        write_atomically(tmp_path / "missing" / "file", lambda stream: None)
