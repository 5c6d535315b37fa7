"""Locks of files: one alone or several together, and what is done before waiting."""

import threading

from search.evaluator.scratch.files import locked


def test_those_who_share_go_on_together_and_one_alone_waits(tmp_path):
    path, said, done = tmp_path / "folder" / "lock", threading.Event(), threading.Event()

    def alone():
        with locked(path, before_waiting=said.set):
            done.set()

    with locked(path, shared=True), locked(path, shared=True):
        thread = threading.Thread(target=alone)
        thread.start()
        assert said.wait(10)
        assert not done.wait(0.2)
    thread.join(10)
    assert done.is_set()


def test_nobody_is_told_to_do_something_else_where_the_lock_is_free(tmp_path):
    with locked(tmp_path / "lock", before_waiting=lambda: 1 / 0):
        pass
    with locked(tmp_path / "lock", shared=True, before_waiting=lambda: 1 / 0):
        pass
