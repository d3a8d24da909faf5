package balancer

import (
	"cmp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/resolver"

	"github.com/rollcall-io/rollcall"
)

// member is an instance as one channel sees it: what it says, where it stands among the others, and its connection, if it is
// wanted. Members are known by their addresses: instances that share one share a connection.
type member struct {
	key   string
	addrs []resolver.Address
	inst  *rollcall.Instance
	plain bool // inst is made up: only the address is known

	serves bool // among the policy's serving

	rank  uint64  // for this process; the lowest are wanted first
	cell  *cell   // nil while it gets no calls: it drains, and others serve
	round uint64  // of the last choice that chose it
	share float64 // of its cell's weight
	conn  *conn   // nil while it is not wanted

	// joined is set on one that came when the channel was there already, or came back as another incarnation; ramp is when it was
	// first connected after that. See Config.SlowStart.
	joined  bool
	ramp    time.Time
	ramping bool // among the policy's ramping
}

func compareRanks(a, b *member) int {
	if c := cmp.Compare(a.rank, b.rank); c != 0 {
		return c
	}
	return strings.Compare(a.key, b.key)
}

// weight is what the instance asks for; the default for one that says nothing or nonsense.
func (m *member) weight() float64 {
	if w := m.inst.EffectiveWeight(); w > 0 {
		return float64(w)
	}
	return rollcall.DefaultWeight
}

// failed reports whether the member has a connection that does not come about.
func (m *member) failed() bool { return m.conn != nil && m.conn.failed }

// group is the instances that a split sends calls to: those of one version, or of all others.
type group struct {
	version string  // "" for the others
	percent float64 // of all calls
	cells   []*cell // by zone, sorted

	order atomic.Uint64 // of the calls whose header sends them here
}

// cell is the instances of one group in one zone. Without zones there is one cell in a group.
type cell struct {
	zone string
	own  bool // the caller's own zone

	ranked []*member // all, by rank
	weight float64   // of all
	added  []*member // of them, since the last choice

	quota  int       // how many are wanted, if all are well; not all
	all    bool      // all are wanted, else:
	chosen []*member // the wanted ones, by rank

	ready  []slot // of those that can be called
	serial uint64 // of the last table that has them
}

// slot is an entry to be.
type slot struct {
	conn   *conn
	weight float64
}

// cell returns the group's cell for a zone, and makes it if it is not there.
func (g *group) cell(zone, own string) *cell {
	n, found := slices.BinarySearchFunc(g.cells, zone, func(c *cell, zone string) int { return strings.Compare(c.zone, zone) })
	if !found {
		g.cells = slices.Insert(g.cells, n, &cell{zone: zone, own: zone == own && own != "", all: true})
	}
	return g.cells[n]
}

func (g *group) size() int {
	n := 0
	for _, c := range g.cells {
		n += len(c.ranked)
	}
	return n
}

func (c *cell) empty() bool { return len(c.ranked) == 0 && len(c.added) == 0 }

// readyWeight returns the weight of what can be called of a cell.
func (c *cell) readyWeight() float64 {
	sum := 0.0
	for _, s := range c.ready {
		sum += s.weight
	}
	return sum
}

// insert adds a member; it gets its place among the ranked with the next merge.
func (c *cell) insert(m *member) {
	m.cell, m.share = c, m.weight()
	c.added = append(c.added, m)
	c.weight += m.share
}

func (c *cell) remove(m *member) {
	if n, found := slices.BinarySearchFunc(c.ranked, m, compareRanks); found {
		c.ranked = slices.Delete(c.ranked, n, n+1)
	}
	c.added = without(c.added, m)
	c.chosen = without(c.chosen, m)
	c.weight -= m.share
	m.cell = nil
}

// few is how many members are cheaper put in their places one by one.
const few = 8

// merge ranks the added members, and returns them.
func (c *cell) merge() []*member {
	added := c.added
	c.added = nil
	if len(added) <= few {
		for _, m := range added {
			n, _ := slices.BinarySearchFunc(c.ranked, m, compareRanks)
			c.ranked = slices.Insert(c.ranked, n, m)
		}
		return added
	}
	slices.SortFunc(added, compareRanks)
	merged := make([]*member, 0, len(c.ranked)+len(added))
	ranked := c.ranked
	for _, m := range added {
		n, _ := slices.BinarySearchFunc(ranked, m, compareRanks)
		merged = append(append(merged, ranked[:n]...), m)
		ranked = ranked[n:]
	}
	c.ranked = append(merged, ranked...)
	return added
}

func without(list []*member, m *member) []*member {
	if n := slices.Index(list, m); n >= 0 {
		return slices.Delete(list, n, n+1)
	}
	return list
}

// wanted returns the members that are to be connected.
func (c *cell) wanted() []*member {
	if c.all {
		return c.ranked
	}
	return c.chosen
}
