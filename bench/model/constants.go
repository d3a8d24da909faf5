package main

// constants are what one machine was measured to do. Each names the figure that it is from: bench/results has them all.
type constants struct {
	heartbeatAtEtcd   float64 // CPU seconds of etcd for one renewal of a lease, on the leader (heartbeats)
	writeAtEtcd       float64 // CPU seconds of etcd for one registration or goodbye (registrations)
	eventAtEtcd       float64 // CPU seconds of etcd to tell one watch of one change (watch streams, raw)
	watchAtEtcd       float64 // bytes of etcd for one watch (watch streams, raw)
	keyInEtcd         float64 // bytes of etcd's store for one revision of an instance, indexes and pages included
	instanceInView    float64 // bytes of a library or a server for one instance that it knows (cold start)
	instanceToLearn   float64 // CPU seconds of a library or a server to list and decode one instance (cold start)
	changeInClient    float64 // CPU seconds of a gRPC client for one change among 100 instances (change)
	streamAtServer    float64 // CPU seconds of a server to tell one stream of one change (watch streams)
	streamMemory      float64 // bytes of a server for one stream (watch streams)
	heartbeatAtServer float64 // CPU seconds of a server for one heartbeat over its API (registrations)
	heldMemory        float64 // bytes of a server for one registration that it keeps (registrations)
	expiries          float64 // leases that etcd ends in a second
}

var measured = constants{
	heartbeatAtEtcd:   30e-6,
	writeAtEtcd:       250e-6,
	eventAtEtcd:       10e-6,
	watchAtEtcd:       6 << 10,
	keyInEtcd:         1 << 10,
	instanceInView:    766,
	instanceToLearn:   7.4e-6,
	changeInClient:    0.25e-3,
	streamAtServer:    6.5e-6,
	streamMemory:      11 << 10,
	heartbeatAtServer: 70e-6,
	heldMemory:        4 << 10,
	expiries:          565,
}
