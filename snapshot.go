package rollcall

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rollcall-io/rollcall/internal/follow"
)

const (
	snapshotLook    = time.Second     // how often changed views are looked for
	snapshotRefresh = 5 * time.Minute // how often an unchanged view is written again: the time in it is its age

	// snapshotBaseline is how old a snapshot may be for losses against it to be doubted.
	snapshotBaseline = time.Hour

	snapshotMagic = "rollcall snapshot 1 sha256 "
)

// snapshotDir is where the last known views are kept.
type snapshotDir struct {
	path   string
	logger *slog.Logger

	failing bool // the last write failed; touched by the goroutine that writes only
}

// snapshot is one view as it lies in a file.
type snapshot struct {
	Dir       string // the key prefix of the service's instances
	Saved     time.Time
	At        follow.Header
	Instances []snapshotInstance
	Decisions []snapshotDecision // of operators
}

type snapshotInstance struct {
	ID             string
	Value          json.RawMessage // as in etcd
	Revision       int64
	CreateRevision int64
	Lease          int64
}

// file returns the path for a service: a name to read, a hash to be unique.
func (d *snapshotDir) file(dir, service string) string {
	sum := sha256.Sum256([]byte(dir))
	return filepath.Join(d.path, fmt.Sprintf("%.100s-%s.snapshot", service, hex.EncodeToString(sum[:8])))
}

// load reads a service's snapshot; nil when there is none that can be used.
func (d *snapshotDir) load(dir, service string) *snapshot {
	name := d.file(dir, service)
	s, err := readSnapshot(name)
	if err == nil && s.Dir != dir {
		err = fmt.Errorf("it is of %q, not %q", s.Dir, dir)
	}
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			d.logger.Warn("snapshot cannot be read, done without", "file", name, "err", err)
		}
		return nil
	}
	return s
}

func readSnapshot(name string) (*snapshot, error) {
	content, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	head, body, _ := bytes.Cut(content, []byte("\n"))
	sum := sha256.Sum256(body)
	if string(head) != snapshotMagic+hex.EncodeToString(sum[:]) {
		return nil, errors.New("checksum or format do not fit")
	}
	var s snapshot
	if err := json.Unmarshal(body, &s); err != nil {
		return nil, err
	}
	return &s, nil
}

// save writes a snapshot, whole or not at all.
func (d *snapshotDir) save(service string, s *snapshot) error {
	body, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(d.path, 0o755); err != nil {
		return err
	}
	temp, err := os.CreateTemp(d.path, ".new-*")
	if err != nil {
		return err
	}
	sum := sha256.Sum256(body)
	_, err = fmt.Fprintf(temp, "%s%s\n%s", snapshotMagic, hex.EncodeToString(sum[:]), body)
	err = errors.Join(err, temp.Sync(), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), d.file(s.Dir, service))
	}
	if err != nil {
		_ = os.Remove(temp.Name())
	}
	return err
}

// keepSnapshots writes views that changed, until ctx ends, and a last time then.
func (r *Registry) keepSnapshots(ctx context.Context) {
	tick := time.NewTicker(snapshotLook)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			r.saveSnapshots()
		case <-ctx.Done():
			r.saveSnapshots()
			return
		}
	}
}

func (r *Registry) saveSnapshots() {
	r.mu.Lock()
	feeds := make([]*feed, 0, len(r.feeds))
	for _, f := range r.feeds {
		feeds = append(feeds, f)
	}
	r.mu.Unlock()
	d := r.snapshots
	for _, f := range feeds {
		s, err := f.snapshot(time.Now())
		if err == nil && s != nil {
			err = d.save(f.service, s)
		}
		if err != nil && !d.failing {
			d.logger.Warn("snapshot cannot be written", "service", f.service, "dir", d.path, "err", err)
		}
		d.failing = err != nil
	}
}

// snapshot returns the newest view for a file; nil when it is stale, or written already.
func (f *feed) snapshot(now time.Time) (*snapshot, error) {
	f.mu.Lock()
	v, at := f.view, f.at
	kept := f.decided.keep()
	due := v != nil && v.StaleSince.IsZero() && now.Sub(f.saved) >= snapshotRefresh
	if due {
		f.saved = now
	}
	f.mu.Unlock()
	if !due {
		return nil, nil
	}
	s := &snapshot{Dir: f.dir, Saved: now, At: at, Decisions: kept, Instances: make([]snapshotInstance, len(v.Instances))}
	for n, i := range v.Instances {
		value, err := i.encode()
		if err != nil {
			return nil, err
		}
		s.Instances[n] = snapshotInstance{ID: i.ID, Value: value, Revision: i.Revision, CreateRevision: i.CreateRevision, Lease: i.lease}
	}
	return s, nil
}

// errRecalled is why a view is stale that etcd has not confirmed yet.
var errRecalled = errors.New("recalled from a snapshot, etcd has not answered yet")

// recall begins with what an earlier process knew, if there is a directory that tells. The view is stale since then. It
// returns what the follower compares etcd's first answer with.
func (f *feed) recall(d *snapshotDir) follow.Seed {
	if d == nil {
		return follow.Seed{}
	}
	s := d.load(f.dir, f.service)
	if s == nil {
		return follow.Seed{}
	}
	f.decided = recallDecisions(s.Decisions)
	f.guard.follow(f.decided.policy)
	v := &View{Service: f.service, Revision: s.At.Revision, StaleSince: s.Saved, StaleErr: errRecalled}
	v.Policy = f.decided.policy
	seed := follow.Seed{At: s.At, Known: map[string]int64{}}
	for _, kept := range s.Instances {
		i, err := decodeInstance(kept.ID, kept.Value)
		if err != nil {
			continue
		}
		i.Revision, i.CreateRevision, i.lease = kept.Revision, kept.CreateRevision, kept.Lease
		v.Instances = append(v.Instances, f.overlay(i, time.Now()))
		seed.Known[f.dir+escapeID(kept.ID)] = kept.Revision
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.believeOnce = time.Since(s.Saved) > snapshotBaseline
	f.publish(v, delta{updates: v.Since(nil)})
	return seed
}

// services returns the services below a layout of which there are files that can be read.
func (d *snapshotDir) services(l layout) (names []string) {
	files, _ := filepath.Glob(filepath.Join(d.path, "*.snapshot"))
	for _, file := range files {
		s, err := readSnapshot(file)
		if err != nil {
			continue // load says so
		}
		service, below := strings.CutPrefix(strings.TrimSuffix(s.Dir, "/"), l.services)
		if below && validateService(service) == nil && d.file(s.Dir, service) == file {
			names = append(names, service)
		}
	}
	return names
}
