"""A program for run to run: server.py PORT [HOW] [NOTES]. It answers on the port, and notes what happens to it."""
import os, signal, socket, subprocess, sys, threading, time

port, how, notes = int(sys.argv[1]), (sys.argv + ["plain"])[2], (sys.argv + ["", "notes"])[3 if len(sys.argv) > 3 else -1]


def note(text):
    with open(notes, "a") as f:
        f.write(text + "\n")


def leave(number, _):
    note(signal.Signals(number).name)
    if "deaf" in how:
        return
    if "looks" in how:  # at the registry as it is at the moment of the signal
        seen = subprocess.run(["rollcall", "list", "web", "-o", "json"], capture_output=True, text=True)
        note("registry: exit %d, %s" % (seen.returncode, seen.stdout.strip()))
    os._exit(0)


def heard(number, _):
    note(signal.Signals(number).name)
    if number == signal.SIGWINCH and sys.stdin.isatty():
        note("%d columns" % os.get_terminal_size(0).columns)
    if number == signal.SIGUSR2 and how == "crash":
        os._exit(7)


def accept(listener):
    while True:
        conn, _ = listener.accept()
        conn.close()


for s in (signal.SIGTERM, signal.SIGINT):
    signal.signal(s, leave)
for s in (signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH, signal.SIGCONT):
    signal.signal(s, heard)
note("pid %d" % os.getpid())
if "mute" in how:
    note("mute")
    while True:
        time.sleep(0.01)
if how == "orphan":
    # A grandchild that nobody waits for: whoever is the first process has to.
    r, w = os.pipe()
    if os.fork() == 0:
        if (pid := os.fork()) != 0:
            os.write(w, str(pid).encode())
        os._exit(0)
    os.wait()
    pid = int(os.read(r, 32))
    for _ in range(1000):
        try:
            os.kill(pid, 0)
            time.sleep(0.01)
        except ProcessLookupError:
            note("reaped, by process %d" % os.getppid())
            os._exit(0)
    note("a zombie")
    os._exit(1)
if how == "leaves":
    subprocess.Popen([sys.executable, sys.argv[0], sys.argv[1], "deaf-mute", "left"])

listener = socket.create_server(("127.0.0.1", port))
threading.Thread(target=accept, args=(listener,), daemon=True).start()
print("listening", flush=True)
if how == "leaves":
    while not os.path.exists("go"):
        time.sleep(0.01)
    os._exit(3)
if "asks" in how:
    while True:
        line = input("your turn: ")
        note("read " + line)
        if line == "quit":
            os._exit(0)
while True:
    time.sleep(0.01)
