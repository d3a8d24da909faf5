package main

// fleet is who is to be registered, and how they behave.
type fleet struct {
	instances   float64 // each a process of its own, which also calls
	perService  float64 // instances of a service
	calls       float64 // services that each process watches
	ttl         float64 // seconds
	deploy      float64 // the part of all that is replaced in a deploy
	deployFor   float64 // seconds that this takes
	writes      float64 // what one replaced instance has written: draining, goodbye and its deletion, and the new one
	kept        float64 // seconds of past revisions that etcd keeps
	restarts    float64 // of each instance, a day
	perServer   float64 // processes to a server
	cellsAtMost float64 // instances in one etcd, without servers: above it heartbeats alone take more than two cores
}

func of(instances float64) fleet {
	return fleet{
		instances: instances, perService: 100, calls: 5, ttl: 15, deploy: 0.1, deployFor: 600, writes: 4, kept: 3600, restarts: 2, perServer: 10_000,
		cellsAtMost: 40_000,
	}
}

// changes is how many revisions a second a deploy makes.
func (f fleet) changes() float64 { return f.instances * f.deploy * f.writes / f.deployFor }

// told is how many watches one change reaches.
func (f fleet) told() float64 { return f.perService * f.calls }

// heartbeats is how many a second all processes send.
func (f fleet) heartbeats() float64 { return f.instances / (f.ttl / 3) }

func (f fleet) servers() float64 { return max(2, ceil(f.instances/f.perServer)) }

// leases are those that servers keep for others: each has room for a thousand keys.
func (f fleet) leases() float64 { return f.servers() * ceil(f.instances/f.servers()/1000) }

// stored is what lies in etcd: every instance, and the past revisions of a deploy and of an ordinary hour.
func (f fleet) stored(c constants) float64 {
	ordinary := f.instances * f.restarts * f.writes / 86400 * f.kept
	deploy := f.instances * f.deploy * f.writes
	return (f.instances + ordinary + deploy) * c.keyInEtcd
}
