package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"
)

// backPause is between two looks at a member that is to come back.
const backPause = 100 * time.Millisecond

// Defragged says what a member gave back of its store's file.
type Defragged struct {
	Member        ClusterMember // before
	Before, After int64         // bytes of the file
	Took          time.Duration
}

// SilentError says that members do not answer, so that what is to be done at all of them, or must not be done without them, is not done.
type SilentError struct {
	Members []ClusterMember
	Rule    string // what follows, and what to do
}

func (e *SilentError) Error() string {
	words := make([]string, len(e.Members))
	for i, m := range e.Members {
		words[i] = fmt.Sprintf("member %s does not answer (%s)", m.Word(), m.silence())
	}
	return strings.Join(words, "; ") + "; " + e.Rule
}

// silence says where a member was looked for, and what was found there: of what gRPC and Go say the last words, which are the reason.
func (m ClusterMember) silence() string {
	text := m.Err.Error()
	text = strings.Trim(text[strings.LastIndex(text, ": ")+1:], ` "`)
	if len(m.ClientURLs) == 0 {
		return text
	}
	return strings.Join(m.ClientURLs, ", ") + ": " + text
}

// Defrag has the members give back the parts of their files that hold nothing, one after the other, the leader last: while a member does, it serves
// nobody. Each has some time, to finish and to be back; unless it is, no other follows. All must answer at the start, unless told otherwise by
// force. What it yields is one member each, and an error at the end if there is one.
func (c *Care) Defrag(ctx context.Context, each time.Duration, force bool) iter.Seq2[Defragged, error] {
	return func(yield func(Defragged, error) bool) {
		todo, err := c.inTurn(ctx, force)
		if err != nil {
			yield(Defragged{}, err)
			return
		}
		for i, m := range todo {
			d, err := c.defragOne(ctx, m, each)
			if err != nil && i+1 < len(todo) {
				err = fmt.Errorf("%w; not done: %s", err, words(todo[i+1:]))
			}
			if !yield(d, err) || err != nil {
				return
			}
		}
	}
}

func words(members []ClusterMember) string {
	all := make([]string, len(members))
	for i, m := range members {
		all[i] = m.Word()
	}
	return strings.Join(all, ", ")
}

// inTurn returns the members that answer, the leader last.
func (c *Care) inTurn(ctx context.Context, force bool) ([]ClusterMember, error) {
	members, _, err := c.Members(ctx)
	if err != nil {
		return nil, err
	}
	if gone := silent(members); len(gone) > 0 && !force {
		return nil, &SilentError{gone, "name where it is reached from here in --etcd, or leave it out with --force"}
	}
	members = slices.DeleteFunc(members, func(m ClusterMember) bool { return m.Endpoint == "" })
	slices.SortStableFunc(members, func(a, b ClusterMember) int { return cmp.Compare(rank(a), rank(b)) })
	return members, nil
}

func rank(m ClusterMember) int {
	if m.Leader {
		return 1
	}
	return 0
}

func (c *Care) defragOne(ctx context.Context, m ClusterMember, each time.Duration) (Defragged, error) {
	began, d := time.Now(), Defragged{Member: m, Before: m.Size}
	if each > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, each, fmt.Errorf("it took longer than %v: %w", each, context.DeadlineExceeded))
		defer cancel()
	}
	if _, err := c.client.Defragment(ctx, m.Endpoint); err != nil {
		return d, fmt.Errorf("defragment member %s: %w", m.Word(), cause(ctx, err))
	}
	d.Took = time.Since(began)
	after, err := c.back(ctx, m)
	if err != nil {
		return d, fmt.Errorf("member %s is not back after it was defragmented: %w", m.Word(), err)
	}
	d.After = after.Size
	return d, nil
}

// errLeaderless is what a member lacks that is not back yet.
var errLeaderless = errors.New("it has no leader, or has not caught up")

// back waits until a member works again: it answers, has a leader, and has what it had.
func (c *Care) back(ctx context.Context, m ClusterMember) (ClusterMember, error) {
	for {
		a := c.ask(ctx, []string{m.Endpoint})[0]
		if a.err == nil {
			m.fill(m.Endpoint, a.StatusResponse)
			if a.RaftAppliedIndex >= a.RaftIndex && m.LeaderKnown {
				return m, nil
			}
			a.err = errLeaderless
		}
		select {
		case <-ctx.Done():
			return m, fmt.Errorf("%w (%w)", context.Cause(ctx), a.err)
		case <-time.After(backPause):
		}
	}
}
