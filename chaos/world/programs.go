package world

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"

	"github.com/rollcall-io/rollcall/chaos/cluster"
)

// Programs builds what the processes of a run execute, each program once and only if a run asks for it.
type Programs struct {
	// Etcd and Etcdutl, if set, are used instead of the ones that are built: an operator's own.
	Etcd, Etcdutl string

	dir   string // where the built ones lie
	mu    sync.Mutex
	built map[string]error // guarded by mu
}

// NewPrograms builds below a folder, which must exist.
func NewPrograms(dir string) *Programs { return &Programs{dir: dir, built: map[string]error{}} }

// Current is the etcd that runs are about: the latest release, unless the operator has named his own.
func (p *Programs) Current() (cluster.Programs, error) {
	if p.Etcd != "" {
		return cluster.Programs{Etcd: p.Etcd, Etcdutl: p.Etcdutl}, nil
	}
	return p.Version("v3.7")
}

// Version is the etcd of one of the folders in etcd/, built from its own module.
func (p *Programs) Version(v string) (cluster.Programs, error) {
	server, err := p.build("etcd-"+v, "etcd/"+v, "go.etcd.io/etcd/server/v3")
	if err != nil {
		return cluster.Programs{}, err
	}
	util, err := p.build("etcdutl-"+v, "etcd/"+v, "go.etcd.io/etcd/etcdutl/v3")
	return cluster.Programs{Etcd: server, Etcdutl: util}, err
}

// Subject is the user of rollcall.
func (p *Programs) Subject() (string, error) { return p.build("subject", ".", "./subject") }

// Mutant is the user of a rollcall from which protections can be taken out: see internal/without.
func (p *Programs) Mutant() (string, error) {
	return p.build("mutant", ".", "-tags", "rollcall_without", "./subject")
}

// Peer is the user of one of the peers.
func (p *Programs) Peer() (string, error) { return p.build("peer", "peers", ".") }

// Rolling is one of the programs of a rolling restart: server, caller or rawcaller.
func (p *Programs) Rolling(name string) (string, error) {
	return p.build("rolling-"+name, ".", "./rolling/"+name)
}

// Rollcall is the program rollcall, of the module above this one.
func (p *Programs) Rollcall() (string, error) { return p.build("rollcall", "..", "./cmd/rollcall") }

// RollcallMutant is the program rollcall from which protections can be taken out.
func (p *Programs) RollcallMutant() (string, error) {
	return p.build("rollcall-mutant", "..", "-tags", "rollcall_without", "./cmd/rollcall")
}

// build builds a program in a folder relative to this module, unless it was built already, and returns its path.
func (p *Programs) build(name, folder string, args ...string) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	path := filepath.Join(p.dir, name)
	if err, done := p.built[name]; done {
		return path, err
	}
	cmd := exec.Command("go", append([]string{"build", "-buildvcs=false", "-o", path}, args...)...)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("build %s: %w\n%s", name, err, out)
	}
	p.built[name] = err
	return path, err
}
