package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/fileutil"
	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

const (
	// DefaultBump is how far a restore raises the revision: more than is written between a backup and the loss of what it is of.
	DefaultBump = 1_000_000_000

	// maxBump leaves room for millions of restores in the 63 bits of a revision.
	maxBump = 1_000_000_000_000

	// bumpMargin is what may be in the log of the store that a restore replaces, and not in its file.
	bumpMargin = 1_000_000
)

const (
	memberDir   = "member"    // where etcd has its data, in a data directory
	restoreDir  = "restoring" // where a restore prepares it
	asidePrefix = "before-restore-"
)

// Restore makes the data of a server, or of a member of several, from a backup. The server must not run.
type Restore struct {
	File    string
	DataDir string // "" means DefaultDataDir

	// Cluster are the members that are restored, and Name the one that this is; each is restored from the same file by the same Restore but for
	// Name. Without any it is a server that is alone.
	Cluster []Member
	Name    string

	// Bump is how far the revision is raised, so that it is higher than any that a watcher has seen; 0 means DefaultBump. All members have the same.
	Bump int64

	// Force moves data aside that is there.
	Force bool
}

// Restored says what came of a restore.
type Restored struct {
	DataDir  string
	Aside    string // where the data is now that was there before; "" when there was none
	Revision int64  // from which the store goes on
	Was      int64  // the backup's
	Keys     int
	SHA256   string // of the backup's file
}

// Validate returns all that is wrong with r, joined.
func (r Restore) Validate() error {
	var errs []error
	if r.Bump < 0 || r.Bump > maxBump {
		errs = append(errs, invalid("Bump", r.Bump, fmt.Sprintf("a revision is raised by 1 to %d", int64(maxBump))))
	}
	secure, seen := false, map[string]bool{}
	for _, m := range r.Cluster {
		secure = secure || strings.HasPrefix(m.PeerURL, "https://")
	}
	for i, m := range r.Cluster {
		if rule := m.fault(secure, seen); rule != "" {
			errs = append(errs, invalid(fmt.Sprintf("Cluster[%d]", i), strconv.Quote(m.String()), rule))
		}
		seen[m.Name], seen[m.PeerURL] = true, true
	}
	_, ours := Config{Name: r.Name, Cluster: r.Cluster}.self()
	switch {
	case len(r.Cluster) == 0 && r.Name != "":
		errs = append(errs, invalid("Name", strconv.Quote(r.Name), "it is for a member of a cluster: it goes with --cluster"))
	case len(r.Cluster) > 0 && !ours:
		errs = append(errs, invalid("Name", strconv.Quote(r.Name), "it is the name of one of the members in --cluster, the one whose data this is"))
	}
	return errors.Join(errs...)
}

// Run restores. Until the very end nothing is changed of what is in the data directory, and nothing there is ever deleted.
func (r Restore) Run(ctx context.Context) (Restored, error) {
	if err := r.Validate(); err != nil {
		return Restored{}, err
	}
	r.withDefaults()
	sum, err := verifyFile(ctx, r.File)
	if err != nil {
		return Restored{}, fmt.Errorf("backup %s: %w", r.File, err)
	}
	if err := r.refuseForeign(); err != nil {
		return Restored{}, err
	}
	dir, err := openDataDir(r.DataDir)
	if err != nil {
		return Restored{}, err
	}
	defer dir.close()
	if data := filepath.Join(dir.path, memberDir); fileutil.Exist(data) && !r.Force {
		return Restored{}, &ExistsError{data, "choose another --data-dir, or have it moved aside by --force"}
	}
	done, err := r.into(ctx, dir.path, sum)
	if err != nil {
		return Restored{}, fmt.Errorf("restore into %s: %w", dir.path, err)
	}
	done.SHA256 = sum
	return done, nil
}

func (r *Restore) withDefaults() {
	if r.DataDir == "" {
		r.DataDir = DefaultDataDir
	}
	if r.Bump == 0 {
		r.Bump = DefaultBump
	}
}

// verifyFile reads a backup to its end and returns its hash.
func verifyFile(ctx context.Context, path string) (sum string, err error) {
	f, err := os.Open(path)
	if err != nil {
		if e, ok := errors.AsType[*fs.PathError](err); ok {
			err = e.Err // the path is said by whoever called
		}
		return "", err
	}
	defer func() { _ = f.Close() }()
	s := newSealed(io.Discard)
	whileAsked := writerFunc(func(p []byte) (int, error) {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		return s.Write(p)
	})
	if _, err := io.Copy(whileAsked, f); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", s.whole.Sum(nil)), s.verify()
}

// refuseForeign refuses a directory that is no data directory.
func (r *Restore) refuseForeign() error {
	entries, err := os.ReadDir(r.DataDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		name := e.Name()
		if name != memberDir && name != lockName && name != restoreDir && !strings.HasPrefix(name, asidePrefix) {
			return fmt.Errorf("data directory %s has %s in it, which is no data of an etcd; choose another --data-dir", r.DataDir, name)
		}
	}
	return err
}

// into prepares the data beside the old, and then puts it in its place.
func (r *Restore) into(ctx context.Context, dir, sum string) (Restored, error) {
	staging := filepath.Join(dir, restoreDir)
	if err := os.RemoveAll(staging); err != nil { // left by a restore that was killed
		return Restored{}, err
	}
	defer func() { _ = os.RemoveAll(staging) }()
	done, err := r.prepare(staging, sum)
	if err == nil {
		err = r.refuseBackwards(dir, done.Revision)
	}
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err == nil {
		done.DataDir = dir
		done.Aside, err = exchange(dir, staging)
	}
	return done, err
}

// prepare makes the data of the member, with etcd's own hand.
func (r *Restore) prepare(staging, sum string) (Restored, error) {
	status, err := inspect(r.File)
	if err != nil {
		return Restored{}, err
	}
	cfg := snapshot.RestoreConfig{
		SnapshotPath: r.File, OutputDataDir: staging,
		RevisionBump: uint64(r.Bump), MarkCompacted: true,
	}
	r.identify(&cfg, sum)
	if err := snapshot.NewV3(zap.NewNop()).Restore(cfg); err != nil {
		return Restored{}, err
	}
	return Restored{Was: status.Revision, Revision: status.Revision + r.Bump, Keys: status.TotalKey}, nil
}

// identify says who the member is, as the server will when it is started. The token makes the cluster another one than that which the backup is
// of: members of that which run still, or are started by mistake, are strangers to it.
func (r *Restore) identify(cfg *snapshot.RestoreConfig, sum string) {
	alone := etcdConfig(Config{}.withDefaults(), "", "")
	cfg.Name, cfg.InitialCluster = alone.Name, alone.InitialCluster
	cfg.PeerURLs = []string{embed.DefaultInitialAdvertisePeerURLs}
	cfg.InitialClusterToken = clusterToken + "-" + sum
	if self, member := (Config{Name: r.Name, Cluster: r.Cluster}).self(); member {
		cfg.Name, cfg.InitialCluster, cfg.PeerURLs = self.Name, initialCluster(r.Cluster), []string{self.PeerURL}
	}
}

// BackwardsError says that a restore would take revisions back behind what watchers have seen.
type BackwardsError struct{ There, Restored, Bump int64 }

func (e *BackwardsError) Error() string {
	return fmt.Sprintf("the data there is at revision %d, and a backup raised to %d would be behind; raise it further, on every member alike, with --bump-revision %d",
		e.There, e.Restored, e.Bump)
}

// refuseBackwards compares with the data that is replaced. It must be higher than what watchers of that have seen.
func (r *Restore) refuseBackwards(dir string, revision int64) error {
	store := filepath.Join(dir, memberDir, "snap", "db")
	if !fileutil.Exist(store) {
		return nil
	}
	there, err := inspect(store)
	if err != nil {
		return nil // a store that is broken is what a restore is for
	}
	if need := there.Revision + bumpMargin; revision < need {
		return &BackwardsError{there.Revision, revision, (need-revision+r.Bump)/DefaultBump*DefaultBump + DefaultBump}
	}
	return nil
}

// exchange puts what was prepared in the place of what is there, which it moves aside.
func exchange(dir, staging string) (aside string, err error) {
	data := filepath.Join(dir, memberDir)
	if fileutil.Exist(data) {
		aside = filepath.Join(dir, asidePrefix+time.Now().UTC().Format("20060102T150405.000Z"))
		if err := os.Mkdir(aside, fileutil.PrivateDirMode); err != nil {
			return "", err
		}
		if err := os.Rename(data, filepath.Join(aside, memberDir)); err != nil {
			return "", errors.Join(err, os.Remove(aside))
		}
	}
	if err := os.Rename(filepath.Join(staging, memberDir), data); err != nil {
		return aside, err
	}
	return aside, syncDir(dir)
}
