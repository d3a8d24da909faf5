package server_test

import (
	"bytes"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"github.com/rollcall-io/rollcall/internal/server"
)

// onPort is a server that is found where it was when it is started again.
func onPort(t *testing.T, dir string) server.Config {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	cfg := onFreePort(dir)
	cfg.ClientURL = "http://" + l.Addr().String()
	return cfg
}

func backUp(t *testing.T, endpoint string) (file string, b server.Backup) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "backup")
	b, err := careOf(t, endpoint).BackupFile(bounded(t), file, false, quietly)
	if err != nil {
		t.Fatal(err)
	}
	return file, b
}

func TestWhoLivesThroughARestoreIsThereAndRevisionsDoNotGoBack(t *testing.T) {
	t.Parallel()
	cfg := onPort(t, filepath.Join(t.TempDir(), "data"))
	info, stop := start(t, cfg)
	stays := registryOn(t, info.Endpoints[0])
	before := enlist(t, stays, 1)
	leaver := enlist(t, registryOn(t, info.Endpoints[0]), 2)
	seen := observe(t, registryOn(t, info.Endpoints[0]), before.Instance().ID)
	seen.await(t, before.Instance().ID, leaver.Instance().ID)
	file, backup := backUp(t, info.Endpoints[0])
	was := clusterOf(t, info)

	// What was written after the backup is lost with the store; who wrote it lives, and it is there again.
	after := enlist(t, stays, 3)
	if err := leaver.Deregister(bounded(t)); err != nil {
		t.Fatal(err)
	}
	waste(t, connect(t, info))
	seen.await(t, before.Instance().ID, after.Instance().ID)
	restore := server.Restore{File: file, DataDir: cfg.DataDir}
	_, err := restore.Run(bounded(t))
	if _, locked := errors.AsType[*server.LockedError](err); !locked {
		t.Fatalf("to replace the data of a server that runs says %v", err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := restore.Run(bounded(t)); !isExists(err) {
		t.Fatalf("data that is there is replaced without being told to: %v", err)
	}
	restore.Force = true
	done, err := restore.Run(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	if done.Was != backup.Revision || done.Revision != backup.Revision+server.DefaultBump || done.SHA256 != backup.SHA256 || done.Keys != backup.Keys {
		t.Errorf("restored is %+v, from %+v", done, backup)
	}
	if _, err := os.Stat(filepath.Join(done.Aside, "member", "snap", "db")); err != nil {
		t.Errorf("the old data is not where it is said to be: %v", err)
	}

	start(t, cfg)
	if is := clusterOf(t, info); is == was {
		t.Errorf("it is the same cluster %x: what was not restored of it could come back in", is)
	}
	late := enlist(t, registryOn(t, info.Endpoints[0]), 4)
	// The one that left after the backup is in it, and goes when its lease does.
	seen.await(t, before.Instance().ID, after.Instance().ID, late.Instance().ID)
	seen.verify(t)
	if at := late.Revision(); at <= done.Revision {
		t.Errorf("the first write is revision %d, not after %d", at, done.Revision)
	}
}

func clusterOf(t *testing.T, info server.Info) uint64 {
	t.Helper()
	return statusOf(t, connect(t, info), info).Header.ClusterId
}

func isExists(err error) bool {
	_, ok := errors.AsType[*server.ExistsError](err)
	return ok
}

func TestThreeMembersAreRestoredFromOneBackup(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	if _, err := etcd.Client(t).Put(bounded(t), "key", "kept"); err != nil {
		t.Fatal(err)
	}
	file, backup := backUp(t, etcd.Endpoint())
	cfgs := members(t)
	for _, cfg := range cfgs {
		done, err := server.Restore{File: file, DataDir: cfg.DataDir, Cluster: cfg.Cluster, Name: cfg.Name}.Run(bounded(t))
		if err != nil || done.Aside != "" {
			t.Fatalf("%+v, %v", done, err)
		}
	}
	infos, _ := startAll(t, cfgs)
	for _, info := range infos {
		resp, err := connect(t, info).Get(bounded(t), "key")
		if err != nil || len(resp.Kvs) != 1 || string(resp.Kvs[0].Value) != "kept" || resp.Header.Revision < backup.Revision+server.DefaultBump {
			t.Errorf("a member has %v, %v", resp, err)
		}
	}
	wantRoster(t, careOf(t, infos[0].Endpoints[0]), "a", "b", "c")
}

func TestABackupThatIsNotWholeIsNotRestored(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	file, _ := backUp(t, etcd.Endpoint())
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Clone(whole)
	changed[len(changed)/2] ^= 1
	for name, text := range map[string][]byte{"changed": changed, "cut off": whole[:len(whole)-512], "without its hash": whole[:len(whole)-32], "empty": nil} {
		bad, dir := filepath.Join(t.TempDir(), "bad"), filepath.Join(t.TempDir(), "data")
		if err := os.WriteFile(bad, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := (server.Restore{File: bad, DataDir: dir}).Run(bounded(t)); err == nil {
			t.Errorf("a backup that is %s is restored", name)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("a backup that is %s has made a data directory", name)
		}
	}
}

func TestARestoreKeepsOutOfWhatIsNotItsOwn(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	file, _ := backUp(t, etcd.Endpoint())
	home := t.TempDir()
	if err := os.WriteFile(filepath.Join(home, "letter.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := server.Restore{File: file, DataDir: home, Force: true}.Run(bounded(t))
	if err == nil {
		t.Fatal("a directory of other things is taken for a data directory")
	}
	wantText(t, err, "letter.txt")
	for _, bad := range []server.Restore{{Bump: -1}, {Bump: 1 << 60}, {Name: "a"}, {Cluster: []server.Member{{Name: "a", PeerURL: "http://10.0.0.1:2380"}}, Name: "a"}} {
		bad.File, bad.DataDir = file, filepath.Join(t.TempDir(), "data")
		if _, err := bad.Run(bounded(t)); !errors.Is(err, rollcall.ErrInvalid) {
			t.Errorf("%+v is %v", bad, err)
		}
	}
}

func TestARestoreThatWouldTakeRevisionsBackIsRefused(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	file, _ := backUp(t, etcd.Endpoint())
	restore := server.Restore{File: file, DataDir: filepath.Join(t.TempDir(), "data"), Force: true}
	if _, err := restore.Run(bounded(t)); err != nil {
		t.Fatal(err)
	}
	// The same backup a second time: whoever watches has seen all revisions up to those of the first.
	_, err := restore.Run(bounded(t))
	back, ok := errors.AsType[*server.BackwardsError](err)
	if !ok {
		t.Fatalf("the second restore says %v", err)
	}
	restore.Bump = back.Bump
	if done, err := restore.Run(bounded(t)); err != nil || done.Revision <= back.There {
		t.Errorf("as advised it is restored to %d, %v", done.Revision, err)
	}
}
