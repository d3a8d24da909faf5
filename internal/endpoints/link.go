package endpoints

import (
	"sync"

	"google.golang.org/grpc/attributes"
	"google.golang.org/grpc/resolver"
)

// PolicyName is the name of the load-balancing policy that joins links.
const PolicyName = "rollcall"

// Link passes one channel's views to its load-balancing policy. Gone by gRPC each is a list of all endpoints, whatever changed, and wakes two
// goroutines more. A link is sent along with a state; a policy that is given one, and is the channel's own and nobody's child, joins it. Its
// methods may be called concurrently.
type Link struct {
	mu     sync.Mutex
	joined Taker // nil: nobody has
}

// Taker is a policy that has joined a link.
type Taker interface {
	// Take takes over a view, and returns false if it does not any more.
	Take(link *Link, v *View) bool
}

// Join has views passed to a policy, and no longer to who joined before.
func (l *Link) Join(t Taker) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.joined = t
}

// Leave ends what Join began, unless somebody else has joined since.
func (l *Link) Leave(t Taker) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.joined == t {
		l.joined = nil
	}
}

// Pass passes a view on, and reports whether a policy has taken it.
func (l *Link) Pass(v *View) bool {
	t := l.taker()
	return t != nil && t.Take(l, v)
}

// Joined reports whether a policy has.
func (l *Link) Joined() bool { return l.taker() != nil }

func (l *Link) taker() Taker {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.joined
}

type linkKey struct{}

// Linked is State with a link along with it.
func (v *View) Linked(l *Link) resolver.State {
	return resolver.State{Endpoints: v.Endpoints(), Attributes: attributes.New(viewKey{}, v).WithValue(linkKey{}, l)}
}

// LinkOf returns the link that was sent with a state; nil when none was.
func LinkOf(s resolver.State) *Link {
	l, _ := s.Attributes.Value(linkKey{}).(*Link)
	return l
}
