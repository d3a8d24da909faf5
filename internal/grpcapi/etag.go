package grpcapi

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"sync"
	"weak"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/message"
)

// What a call of GetService may ask, and is told then, in its metadata: HTTP's own words for it.
const (
	ifNoneMatch = "if-none-match"
	etagHeader  = "etag"
)

// mostTags is of how many services the tags are remembered.
const mostTags = 4096

// tags remembers by what services are known as they are now: to find that out takes a look at each instance.
type tags struct {
	mu sync.Mutex
	of map[string]*tag
}

// tag stands for everything that is told of a service. It does not keep the view from being forgotten.
type tag struct {
	view weak.Pointer[rollcall.View]
	text func() string
}

// find returns the tag of a view.
func (t *tags) find(v *rollcall.View) string {
	t.mu.Lock()
	known := t.of[v.Service]
	if now := weak.Make(v); known == nil || known.view != now {
		known = &tag{now, sync.OnceValue(func() string { return tagOf(v) })}
		if len(t.of) >= mostTags {
			clear(t.of)
		}
		t.of[v.Service] = known
	}
	t.mu.Unlock()
	return known.text()
}

// tagOf is the same on every server that would tell the same. It is weak, since how that is written is nobody's business.
func tagOf(v *rollcall.View) string {
	w := newDigester()
	w.numbers(int64(digestOf(v.Instances)))
	if w.flag(v.Policy != nil); v.Policy != nil {
		document, _ := v.Policy.MarshalJSON() // a policy that cannot be written cannot have been read
		w.numbers(v.Policy.Revision)
		w.text(string(document))
	}
	if stale := message.Staleness(v.StaleSince, v.StaleErr); stale != nil {
		w.numbers(seconds(v.StaleSince))
		w.text(stale.GetReason())
	}
	return fmt.Sprintf(`W/"%d-%016x"`, v.Revision, binary.BigEndian.Uint64(w.Sum(nil)))
}

// has tells a caller who asks for it by what a view is known, and reports whether he has that already. A service without instances has no
// tag: there is nothing to spare.
func (a *API) has(ctx context.Context, v *rollcall.View) bool {
	md, _ := metadata.FromIncomingContext(ctx)
	asked := md.Get(ifNoneMatch)
	if len(asked) == 0 || len(v.Instances) == 0 {
		return false
	}
	now := a.tags.find(v)
	if grpc.SetHeader(ctx, metadata.Pairs(etagHeader, now)) != nil {
		return false // it could not be told, and an answer without it is whole
	}
	for one := range strings.SplitSeq(strings.Join(asked, ","), ",") {
		if one = strings.TrimSpace(one); one == "*" || one == now {
			return true
		}
	}
	return false
}
