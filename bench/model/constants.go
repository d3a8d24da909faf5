package main

// constants are what one machine of two cores was measured to do. Each names its figure on the page of results, a median at its greatest size
// unless another is named, or says where else it is from.
type constants struct {
	heartbeatAtEtcd   float64 // CPU seconds of etcd for one heartbeat of a process that has a connection of its own (beats-etcd by beats-requests)
	writeAtEtcd       float64 // CPU seconds of etcd for one registration or goodbye (registrations-cpu, etcd’s client alone)
	eventAtEtcd       float64 // CPU seconds of etcd to tell one watch of one change (streams-cpu, a watch of etcd each)
	watchAtEtcd       float64 // bytes of etcd for one watch (streams-memory, a watch of etcd each)
	keyInEtcd         float64 // bytes of etcd's store for one revision of an instance: an allowance, three times what is written
	instanceInView    float64 // bytes of a library or a server for one instance that it knows (start-all-heap)
	instanceToLearn   float64 // CPU seconds of a library or a server to list and decode one instance (start-one-cpu)
	changeInClient    float64 // CPU seconds of a gRPC client for one change among 100 instances (weight-cpu)
	streamAtServer    float64 // CPU seconds of a server to tell one stream of one change (streams-cpu)
	streamMemory      float64 // bytes of a server for one stream (streams-memory)
	heartbeatAtServer float64 // CPU seconds of a server and its etcd for one heartbeat over the API (registrations-kept)
	heldMemory        float64 // bytes of a server for one registration that it keeps (registrations-memory)
	expiries          float64 // leases that etcd ends in a second, at the most: it was seen to end 10,000 in 17.7 s
}

var measured = constants{
	heartbeatAtEtcd:   236e-6,
	writeAtEtcd:       245e-6,
	eventAtEtcd:       13.8e-6,
	watchAtEtcd:       38e3,
	keyInEtcd:         1 << 10,
	instanceInView:    908,
	instanceToLearn:   11.2e-6,
	changeInClient:    603e-6,
	streamAtServer:    6.3e-6,
	streamMemory:      12.5e3,
	heartbeatAtServer: 84e-6,
	heldMemory:        5.84e3,
	expiries:          565,
}
