package etcdtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"

	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

// memberEnv makes a test binary a member of a cluster instead: the member's spec.
const memberEnv = "ROLLCALL_TEST_MEMBER"

// What a member's process says on its standard output, once.
const (
	saysListening = "listening\n"
	saysTaken     = "a port is taken\n"
)

// memberSpec is all that a member's process needs to know.
type memberSpec struct {
	Name   string
	Dir    string // etcd's data directory
	Client string // host:port for clients
	Peer   string // host:port for the other members
	All    string // the initial cluster, as etcd wants it
	Fsync  bool
}

// beMember is the program of a member's process. It returns when etcd has failed, or when the test binary that started
// it is gone, which is the end of standard input.
func beMember(encoded string) {
	var spec memberSpec
	if err := json.Unmarshal([]byte(encoded), &spec); err != nil {
		fmt.Printf("bad spec: %v\n", err)
		return
	}
	e, err := embed.StartEtcd(spec.config())
	if _, taken := errors.AsType[*net.OpError](err); taken {
		fmt.Print(saysTaken)
		return
	}
	if err != nil {
		fmt.Printf("cannot start: %v\n", err)
		return
	}
	fmt.Print(saysListening)
	orphaned := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(orphaned)
	}()
	select {
	case <-orphaned:
	case err := <-e.Err():
		fmt.Fprintf(os.Stderr, "etcd has ended: %v\n", err)
	}
}

func (s memberSpec) config() *embed.Config {
	client, peer := url.URL{Scheme: "http", Host: s.Client}, url.URL{Scheme: "http", Host: s.Peer}
	cfg := embed.NewConfig()
	cfg.Name, cfg.Dir = s.Name, s.Dir
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	cfg.InitialCluster = s.All
	cfg.UnsafeNoFsync = !s.Fsync
	cfg.EnableGRPCGateway = false
	log := zap.NewProductionConfig() // to standard error, from Info
	log.Encoding = "console"
	log.EncoderConfig = zap.NewDevelopmentEncoderConfig()
	if logger, err := log.Build(); err == nil {
		cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(logger)
	}
	return cfg
}
