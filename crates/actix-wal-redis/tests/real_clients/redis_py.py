"""What programs do with redis-py. Arguments: the port, and the password of the server."""

import sys
import threading
import uuid

import redis

PORT, PASSWORD = int(sys.argv[1]), sys.argv[2]


def connect(**more):
    return redis.Redis(host="127.0.0.1", port=PORT, password=PASSWORD, **more)


def strings():
    for protocol in (2, 3):
        with connect(decode_responses=True, protocol=protocol) as r:
            r.flushall()
            assert r.set("name", "Äpfel") is True
            assert r.get("name") == "Äpfel"
            assert r.get("nothing") is None
            assert r.set("name", "x", nx=True) is None
            assert r.set("name", "y", get=True) == "Äpfel"
            assert r.mset({"a": 1, "b": 2}) is True
            assert r.mget("a", "nothing", "b") == ["1", None, "2"]
            assert r.incrbyfloat("pi", 3.25) == 3.25
            assert r.expire("a", 1000, nx=True) is True
            assert 990 <= r.ttl("a") <= 1000 and r.ttl("b") == -1 and r.ttl("no") == -2
            assert r.type("a") == "string" and r.exists("a", "b", "no") == 2
            assert r.config_get("maxclients")["maxclients"].isdigit()
            assert r.client_setname("me") and r.client_getname() == "me"
            assert r.info()["redis_version"] and r.ping() is True and r.echo("x") == "x"
    with connect() as r:
        binary = bytes(range(256))
        r.set(binary, binary)
        assert r.get(binary) == binary and r.getrange(binary, 254, -1) == b"\xfe\xff"


def errors():
    with connect() as r:
        r.set("text", "abc")
        for call, text in (
            (lambda: r.incr("text"), "value is not an integer or out of range"),
            (lambda: r.execute_command("NOSUCH", "l", 1), "unknown command 'NOSUCH'"),
            (lambda: r.execute_command("GET"), "wrong number of arguments"),
        ):
            try:
                call()
            except redis.ResponseError as error:
                assert text in str(error), error
            else:
                raise AssertionError(text)
    try:
        redis.Redis(host="127.0.0.1", port=PORT).get("a")
    except redis.AuthenticationError:
        pass
    else:
        raise AssertionError("without the password")


def pipelines():
    with connect(decode_responses=True) as r:
        r.flushall()
        pipe = r.pipeline(transaction=False)
        for at in range(3000):
            pipe.set(f"key:{at}", at)
            pipe.get(f"key:{at}")
        answers = pipe.execute()
        assert answers[0::2] == [True] * 3000
        assert answers[1::2] == [str(at) for at in range(3000)]
        assert sorted(r.scan_iter("key:1*", count=50)) == sorted(
            f"key:{at}" for at in range(3000) if str(at).startswith("1")
        )
        pipe = r.pipeline()
        pipe.incr("n").get("n").set("text", "x").incr("text").incr("n")
        answers = pipe.execute(raise_on_error=False)
        assert answers[:3] == [1, "1", True] and answers[4] == 2, answers
        assert isinstance(answers[3], redis.ResponseError), answers


def watched():
    """Clients that add to a counter as the documentation of redis-py does it: again until nobody was faster."""
    clients, times = 4, 25

    def add():
        with connect() as r, r.pipeline() as pipe:
            for _ in range(times):
                while True:
                    try:
                        pipe.watch("watched")
                        now = int(pipe.get("watched") or 0)
                        pipe.multi()
                        pipe.set("watched", now + 1)
                        pipe.execute()
                        break
                    except redis.WatchError:
                        continue

    together([add] * clients)
    with connect() as r:
        assert int(r.get("watched")) == clients * times, r.get("watched")


def locks():
    """A lock made of SET NX PX, which its owner alone gives back, under WATCH. One client has it at a time."""
    inside, most = [], []

    def enter():
        with connect(decode_responses=True) as r:
            for _ in range(10):
                token = str(uuid.uuid4())
                while not r.set("lock", token, nx=True, px=600_000):
                    pass
                inside.append(token)
                most.append(len(inside))
                r.incr("entered")
                inside.remove(token)

                def release(pipe):
                    owner = pipe.get("lock")
                    pipe.multi()
                    assert owner == token
                    pipe.delete("lock")

                assert r.transaction(release, "lock") == [1]

    together([enter] * 3)
    with connect(decode_responses=True) as r:
        assert max(most) == 1 and r.get("entered") == "30" and r.exists("lock") == 0
        # Its time passes by itself.
        assert r.set("short", "x", nx=True, px=30)
        while not r.set("short", "y", nx=True, px=600_000):
            pass
        assert r.get("short") == "y"


def together(works):
    failed = []

    def run(work):
        try:
            work()
        except BaseException as error:
            failed.append(error)
            raise

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed, failed


for part in (strings, errors, pipelines, watched, locks):
    part()
print("done")
