// Package peer has other registration and discovery libraries do what their users have them do, each as its own
// documentation says: register an instance, and make a gRPC channel to a service. The chaos suite has them live through
// faults, the benchmarks measure them.
//
// A value of a peer's type has what a process with that library has one of: an etcd client, a registry. So a second
// instance, or a second service, goes through the same as the first.
package peer

import (
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
)

// A Registrar takes instances in.
type Registrar interface {
	// Register returns once the library says that the instance is registered. What it returns takes the instance away
	// again, with the patience that programs with this library have: some wait for etcd for ever. It is called for one
	// instance after the other.
	Register(s Settings) (deregister func() error, err error)
}

// A Library is a Registrar whose users find instances by gRPC channels.
type Library interface {
	Registrar
	// Dial makes a channel to a service as the library's users have it, with its own resolver and load-balancing policy,
	// and with these options besides.
	Dial(s Settings, options ...grpc.DialOption) (*grpc.ClientConn, error)
}

// Settings are what a user of any library says.
type Settings struct {
	Endpoints []string // of etcd
	Service   string
	ID        string // of the instance, for libraries that have such
	Addr      string // of the instance
	TTL       time.Duration
	User      string
	Password  string
}

// Once is something that a process with a library has one of. It is made when it is first wanted, and again if that failed.
type Once[T any] struct {
	mu   sync.Mutex
	made bool // guarded by mu
	it   T    // guarded by mu
}

// Get returns it.
func (o *Once[T]) Get(open func() (T, error)) (T, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.made {
		return o.it, nil
	}
	it, err := open()
	if err == nil {
		o.it, o.made = it, true
	}
	return it, err
}

// Client has the etcd client of a library whose user makes it.
type Client struct{ once Once[*clientv3.Client] }

// Dial makes the client as etcd's documentation does.
func (c *Client) Dial(s Settings) (*clientv3.Client, error) {
	return c.once.Get(func() (*clientv3.Client, error) {
		return clientv3.New(clientv3.Config{
			Endpoints:   s.Endpoints,
			DialTimeout: 5 * time.Second,
			Username:    s.User,
			Password:    s.Password,
		})
	})
}
