package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/etcdserver/api/membership"
)

// clusterToken keeps the members of a cluster of ours from those of others. It is the same everywhere: what keeps two clusters of
// ours apart is that nobody names members of both.
const clusterToken = "rollcall"

// Member is one of the servers whose embedded etcds make a cluster.
type Member struct {
	Name    string // unique in the cluster
	PeerURL string // where the others reach it: http://host:port on one machine, else https://host:port
}

func (m Member) String() string { return m.Name + "=" + m.PeerURL }

// initialCluster is how etcd writes them.
func initialCluster(members []Member) string {
	words := make([]string, len(members))
	for i, m := range members {
		words[i] = m.String()
	}
	return strings.Join(words, ",")
}

// self returns which of the members we are.
func (c Config) self() (Member, bool) {
	i := slices.IndexFunc(c.Cluster, func(m Member) bool { return m.Name == c.Name })
	if i < 0 {
		return Member{}, false
	}
	return c.Cluster[i], true
}

func (c Config) validateCluster() []error {
	if len(c.Cluster) == 0 {
		return c.validateAlone()
	}
	var errs []error
	secure, seen := c.PeerTLS != (Files{}), map[string]bool{}
	for i, m := range c.Cluster {
		if rule := m.fault(secure, seen); rule != "" {
			errs = append(errs, invalid(fmt.Sprintf("Cluster[%d]", i), strconv.Quote(m.String()), rule))
		}
		seen[m.Name], seen[m.PeerURL] = true, true
	}
	if secure {
		errs = append(errs, c.PeerTLS.validateMutual("PeerTLS"))
	}
	self, ours := c.self()
	if !ours {
		errs = append(errs, invalid("Name", strconv.Quote(c.Name), "it is the name of one of the members in --cluster, the one that this server is"))
	} else if len(errs) == 0 || errors.Join(errs...) == nil {
		errs = append(errs, c.validatePeerListen(self, secure))
	}
	return errs
}

// validateAlone refuses what only a member of a cluster can use.
func (c Config) validateAlone() []error {
	var errs []error
	for field, value := range map[string]string{"Name": c.Name, "PeerListen": c.PeerListen, "PeerTLS.Cert": c.PeerTLS.Cert, "PeerTLS.Key": c.PeerTLS.Key, "PeerTLS.CA": c.PeerTLS.CA} {
		if value != "" {
			errs = append(errs, invalid(field, strconv.Quote(value), "it is for a member of a cluster: it goes with --cluster"))
		}
	}
	if c.Join {
		errs = append(errs, invalid("Join", "existing", "it is for a member of a cluster: it goes with --cluster"))
	}
	return errs
}

// fault says what is wrong with m among those seen before it; "" when nothing is.
func (m Member) fault(secure bool, seen map[string]bool) string {
	u, err := url.Parse(m.PeerURL)
	if err != nil || m.Name == "" || strings.ContainsAny(m.Name, ",= ") || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Path != "" || u.RawQuery != "" || u.User != nil || !validPort(u.Port()) || u.Port() == "0" {
		return "a member is name=http://host:port or name=https://host:port"
	}
	within, _ := loopback(u.Hostname())
	switch {
	case seen[m.Name] || seen[m.PeerURL]:
		return "a name and a URL are one member's only"
	case secure && u.Scheme != "https":
		return "with certificates a member is name=https://host:port"
	case !secure && !within:
		return "members on several machines know one another by certificates: name=https://host:port with --peer-cert, --peer-key and --peer-ca; --insecure does not change that"
	case !secure && u.Scheme == "https":
		return "https:// takes the certificates of --peer-cert, --peer-key and --peer-ca"
	}
	return ""
}

func (c Config) validatePeerListen(self Member, secure bool) error {
	field, addr := "PeerListen", c.peerListen(self)
	host, port, err := net.SplitHostPort(addr)
	if err != nil || !validPort(port) || port == "0" {
		return invalid(field, strconv.Quote(addr), "where to listen is host:port")
	}
	within, known := loopback(host)
	switch {
	case !known && c.PeerListen == "":
		return invalid(field, `""`, fmt.Sprintf("%s is a name: say on which address of it to listen, such as 0.0.0.0:%s", host, port))
	case !known:
		return invalid(field, strconv.Quote(addr), `the host to listen on is an IP address or "localhost"`)
	case !within && !secure:
		return invalid(field, strconv.Quote(addr), "where other machines reach it, a member asks for certificates: --peer-cert, --peer-key and --peer-ca; --insecure does not change that")
	}
	return nil
}

// peerListen is where the member that we are listens for the others.
func (c Config) peerListen(self Member) string {
	if c.PeerListen != "" {
		return c.PeerListen
	}
	u, err := url.Parse(self.PeerURL)
	if err != nil {
		return ""
	}
	return u.Host
}

// settle looks whether the data is this member's. What a server wrote that was alone is, once that is made a cluster of one, in which
// others can be taken in; where there are to be several already it would be one of several registries, each with its own truth.
func (e *embedded) settle(ctx context.Context) error {
	self, member := e.cfg.self()
	if !member {
		return nil
	}
	there := e.etcd.Server.Cluster()
	own := there.Member(e.etcd.Server.MemberID())
	if own == nil || slices.Contains(own.PeerURLs, self.PeerURL) {
		return nil
	}
	if len(there.Members()) > 1 || len(e.cfg.Cluster) > 1 {
		return fmt.Errorf("what is there belongs to a member at %s, not to %s; a server that was alone is made a member by --cluster %s, with nobody else in it, and then takes in the others",
			strings.Join(own.PeerURLs, ", "), self, self)
	}
	ctx, cancel := context.WithTimeout(ctx, electionPatience)
	defer cancel()
	_, err := e.etcd.Server.UpdateMember(ctx, membership.Member{ID: own.ID, RaftAttributes: membership.RaftAttributes{PeerURLs: []string{self.PeerURL}}})
	if err != nil {
		return fmt.Errorf("make it member %s: %w", self, err)
	}
	return nil
}

// ReplaceMember makes room in a running cluster for a member whose data is lost, or for one more: it takes out the member of that name, if there is one,
// and puts one in without data, which the server is when it is started with [Config.Join]. It needs a majority of the members. It may be called
// again after an error, and it takes out a member that lives as well as one that does not.
func ReplaceMember(ctx context.Context, etcd clientv3.Cluster, m Member) error {
	list, err := etcd.MemberList(ctx)
	if err != nil {
		return fmt.Errorf("replace member %s: ask for the members: %w", m.Name, err)
	}
	for _, there := range list.Members {
		if there.Name == "" && slices.Contains(there.PeerURLs, m.PeerURL) {
			return nil // in already, and not started yet
		}
		if there.Name != m.Name {
			continue
		}
		if _, err := etcd.MemberRemove(ctx, there.ID); err != nil {
			return fmt.Errorf("replace member %s: take it out: %w", m.Name, err)
		}
	}
	for {
		_, err := etcd.MemberAdd(ctx, []string{m.PeerURL})
		if err == nil {
			return nil
		}
		// For 5 s after a member was lost etcd takes its cluster for too unhealthy to take one in.
		if !errors.Is(err, rpctypes.ErrUnhealthy) {
			return fmt.Errorf("replace member %s: put it in: %w", m.Name, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("replace member %s: put it in: %w", m.Name, errors.Join(context.Cause(ctx), err))
		case <-time.After(time.Second):
		}
	}
}
