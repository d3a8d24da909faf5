// Package rolling plays rolling restarts under load, on a real etcd cluster and with every server and every caller a
// process of its own, and judges by what they wrote down whether a call was lost. [Play] plays a [Plan].
//
// # Callers in other languages
//
// A caller is any program that keeps to this, in whatever language and however it finds the servers ([Caller] says how it
// is started; programs caller and rawcaller are two):
//
//   - It takes the flags -etcd HOST:PORT,HOST:PORT,… (all members), -service NAME and -journal FILE, behind those that
//     its Caller names, and finds the service's instances itself. If the plan has an Xds it finds NAME by xDS, with the
//     bootstrap that GRPC_XDS_BOOTSTRAP names; the callers in folder xdscaller do, in Python and JavaScript.
//   - It calls the methods of service rollcall.chaos.Work, which are in package work, with many callers at once: some make
//     the next call when the last has ended, some calls at a fixed rate. Every kind of call must be among them, and every
//     call has a deadline. What a program of its kind does not do by default, such as trying again, it does not do.
//   - For each call that has ended, however it did, it writes a line to the journal, at once or at the latest before it
//     ends, such as
//     {"what":"call","kind":"quick","begin":81000000000000,"end":81000021000000,"addr":"127.0.0.1:5000","code":"OK"}
//     with kind quick, slow or stream; begin and end in nanoseconds of CLOCK_MONOTONIC (time.monotonic_ns() in Python,
//     process.hrtime.bigint() in Node, System.nanoTime() in Java on Linux, std::chrono::steady_clock in C++); addr, the
//     server's, if it is known, and then it must come to be each server's; code, the name of the status, which is OK or a failure; and message, if there is one.
//   - On SIGTERM it begins no more calls, finishes those under way, and exits with 0.
//   - It may take down its stalls, with begin and end: {"what":"stalled","begin":…,"end":…}. See [work.NoteStalls].
//
// It is warm once it has written that a call succeeded; nothing is restarted before.
package rolling
