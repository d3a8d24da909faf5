// Package simulation holds seeded schedules of faults, played in simulated time: real registries and watchers, over the
// real etcd client, against the fake cluster of internal/simetcd.
//
// A schedule is a world: members of etcd, registrars that keep instances registered, writers that know nothing of the
// library, and watchers. While faults strike, an oracle reads the cluster's own history and what the watchers were
// given, and holds both against the invariants. The oracle uses nothing of the library: it reads values and keys by
// itself, so that it cannot share a mistake.
//
// A test that cannot see a fault proves nothing. Two things guard against that. Each kind of fault must strike something
// alive a hundred times in the seeds that run by default, counted: a fault of one member strikes if the member leads or
// carries the heartbeats of a live instance, and lasts until one falls due, or if a watcher's stream is on it, and lasts
// until a probe does; a deletion or a revocation strikes the key of a live instance; a full disk and a dead token strike
// when etcd has refused something for them. And registrars, watchers and clients that do what ours must not do are
// played on the same seeds, and must be caught.
//
// What once went wrong, or almost, is played again as a scene: a world in which what happens is written down, not drawn.
// Scenes also hold what faults cost etcd: requests and connections, counted.
//
// A schedule is drawn from its seed before anything happens. The jitter of the library and the order in which
// goroutines run are not, so a failure may want a few runs of its seed to come back: -count=20.
package simulation
