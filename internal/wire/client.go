package wire

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
)

var (
	errLoggingIn    = errors.New("etcd has not answered the login yet")
	errClientClosed = errors.New("the etcd client was closed before the registry")
)

// Client is the etcd client behind the connections, there from the start or made in the background: to exchange a
// password for a token clientv3.New waits for etcd, and fails while it is away.
type Client struct {
	logger    *slog.Logger
	endpoints []string        // as configured
	cfg       clientv3.Config // of a client that is to be made

	mu         sync.Mutex
	client     *clientv3.Client // nil: not made yet
	err        error            // why not
	complaints map[string]bool  // those made
	down       time.Time        // since when its own connection was found down; zero when it was not
}

// Given wraps a client that somebody else made.
func Given(client *clientv3.Client, logger *slog.Logger) *Client {
	return &Client{logger: logger, client: client, complaints: map[string]bool{}}
}

// Login returns a client that Run makes.
func Login(cfg clientv3.Config, logger *slog.Logger) *Client {
	first := grpc.WithChainUnaryInterceptor(new(logins).intercept)
	cfg.DialOptions = append([]grpc.DialOption{first}, cfg.DialOptions...)
	return &Client{logger: logger, endpoints: cfg.Endpoints, cfg: cfg, err: errLoggingIn, complaints: map[string]bool{}}
}

const loginTimeout = 3 * time.Second // of one try

// Run makes a client that is not there yet: it tries until it succeeds or ctx ends, which also ends what the client does.
func (c *Client) Run(ctx context.Context) {
	if c.client != nil {
		return
	}
	cfg := c.cfg
	cfg.Context = ctx
	if cfg.DialTimeout == 0 {
		cfg.DialTimeout = loginTimeout
	}
	for attempt := 0; ctx.Err() == nil; attempt++ {
		client, err := clientv3.New(cfg)
		if err == nil {
			client.Auth = ownAuth{client.Auth}
		}
		c.mu.Lock()
		c.client, c.err = client, err
		c.mu.Unlock()
		if err == nil {
			return
		}
		if IsRefusal(err) && attempt == 0 {
			c.logger.Warn("etcd refuses the login, trying again", "err", err)
		} else {
			c.logger.Debug("login to etcd failed, trying again", "err", err)
		}
		Sleep(ctx, Backoff(attempt)) // a password that is refused is held back on its way
	}
}

// get returns the client, or why there is none.
func (c *Client) get() (*clientv3.Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.client != nil && c.client.Ctx().Err() != nil {
		return nil, errClientClosed
	}
	return c.client, c.err
}

// Endpoints returns etcd's endpoints, as far as they are known.
func (c *Client) Endpoints() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.client == nil {
		return c.endpoints
	}
	return c.client.Endpoints()
}

// Close closes the client, if it was made.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.client != nil {
		c.client.Close()
	}
}

// complain warns once that the client is seen to break what the registry promises with it: its configuration cannot be
// read back from a client that somebody else made.
func (c *Client) complain(what, remedy string) {
	c.mu.Lock()
	said := c.complaints[what]
	c.complaints[what] = true
	c.mu.Unlock()
	if !said {
		c.logger.Warn("the etcd client is not fit for a registry, see ClientConfig: "+what, "remedy", remedy)
	}
}

// slowAfter is how long the client's own connection may be away while etcd answers.
const slowAfter = 3 * time.Second

// LookAtClient is called when an answer has just come over the connection. The client's own connection may be down for a
// moment then; one that stays down waits for its backoff.
func (c *Conn) LookAtClient() { c.client.look() }

func (c *Client) look() {
	client, err := c.get()
	if err != nil {
		return
	}
	c.mu.Lock()
	if client.ActiveConnection().GetState() != connectivity.TransientFailure {
		c.down = time.Time{}
	} else if c.down.IsZero() {
		c.down = time.Now()
	}
	slow := !c.down.IsZero() && time.Since(c.down) > slowAfter
	c.mu.Unlock()
	if slow {
		c.complain("it stays away from an etcd that answers: tokens are fetched over its connection, and leases can run out meanwhile",
			"grpc.WithConnectParams with a MaxDelay of 1s in Config.DialOptions")
	}
}
