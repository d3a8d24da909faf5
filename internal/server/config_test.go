package server_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/server"
)

// problems returns the fields that err finds fault with.
func problems(t *testing.T, err error) []string {
	t.Helper()
	var fields []string
	errs := []error{err}
	if joined, ok := errors.AsType[interface {
		error
		Unwrap() []error
	}](err); ok {
		errs = joined.Unwrap()
	}
	for _, err := range errs {
		invalid, ok := errors.AsType[*rollcall.InvalidError](err)
		if !ok {
			t.Fatalf("%v is no InvalidError", err)
		}
		fields = append(fields, strings.TrimPrefix(invalid.Field, "Config."))
	}
	return fields
}

func TestValidateFindsEveryProblem(t *testing.T) {
	t.Parallel()
	const p = rollcall.DefaultPrefix
	for _, tt := range []struct {
		name string
		cfg  server.Config
		want []string
	}{
		{"the default", server.Config{}, nil},
		{"localhost", server.Config{ClientURL: "http://localhost:0"}, nil},
		{"loopback of IPv6", server.Config{ClientURL: "http://[::1]:2379"}, nil},
		{"another loopback address", server.Config{ClientURL: "http://127.9.9.9:2379"}, nil},
		{"no scheme", server.Config{ClientURL: "127.0.0.1:2379"}, []string{"ClientURL"}},
		{"https", server.Config{ClientURL: "https://127.0.0.1:2379"}, []string{"ClientURL"}},
		{"no port", server.Config{ClientURL: "http://127.0.0.1"}, []string{"ClientURL"}},
		{"port out of range", server.Config{ClientURL: "http://127.0.0.1:65536"}, []string{"ClientURL"}},
		{"a path", server.Config{ClientURL: "http://127.0.0.1:2379/v3"}, []string{"ClientURL"}},
		{"a host name", server.Config{ClientURL: "http://etcd.example:2379", Insecure: true}, []string{"ClientURL"}},
		{"every interface", server.Config{ClientURL: "http://0.0.0.0:2379"}, []string{"ClientURL"}},
		{"every interface of IPv6", server.Config{ClientURL: "http://[::]:2379"}, []string{"ClientURL"}},
		{"another machine's reach", server.Config{ClientURL: "http://10.0.0.7:2379"}, []string{"ClientURL"}},
		{"insecure on purpose", server.Config{ClientURL: "http://0.0.0.0:2379", Insecure: true}, nil},
		{"least history", server.Config{History: time.Minute}, nil},
		{"short history", server.Config{History: time.Minute - 1}, []string{"History"}},
		{"negative history", server.Config{History: -time.Hour}, []string{"History"}},
		{"least quota", server.Config{QuotaBytes: 16 << 20}, nil},
		{"small quota", server.Config{QuotaBytes: 16<<20 - 1}, []string{"QuotaBytes"}},
		{"negative quota", server.Config{QuotaBytes: -1}, []string{"QuotaBytes"}},
		{"all at once", server.Config{ClientURL: "http://", History: 1, QuotaBytes: 1, Prefix: "a/"}, []string{"ClientURL", "History", "QuotaBytes", "Prefix"}},
		{"a prefix", server.Config{Prefix: p}, nil},
		{"a prefix with a slash at its end", server.Config{Prefix: p + "/"}, []string{"Prefix"}},
		{"endpoints", server.Config{Etcd: []string{"127.0.0.1:2379", "http://etcd.example:2379", "https://[::1]:2379"}}, nil},
		{"endpoints that are none", server.Config{Etcd: []string{"", "etcd", "a:b", "http://a:1/v3", "a:1", ":2379", "a:0"}}, []string{"Etcd[0]", "Etcd[1]", "Etcd[2]", "Etcd[3]", "Etcd[5]", "Etcd[6]"}},
		{"endpoints and what counts for nothing beside them", server.Config{Etcd: []string{"a:1"}, ClientURL: "?", History: 1, QuotaBytes: 1}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := tt.cfg.Validate()
			if err == nil {
				if tt.want != nil {
					t.Errorf("no problem found, want %v", tt.want)
				}
				return
			}
			if !errors.Is(err, rollcall.ErrInvalid) {
				t.Errorf("%v is not ErrInvalid", err)
			}
			if diff := cmp.Diff(tt.want, problems(t, err)); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAProblemNamesTheValueAndTheRule(t *testing.T) {
	t.Parallel()
	err := server.Config{ClientURL: "http://0.0.0.0:2379", History: time.Second}.Validate()
	wantText(t, err, `"http://0.0.0.0:2379"`, "loopback", "--insecure", "1s", "1m0s")
}

func TestAnInvalidConfigTouchesNothing(t *testing.T) {
	t.Parallel()
	cfg := onFreePort(filepath.Join(t.TempDir(), "data"))
	cfg.History = time.Second
	if err := refused(t, cfg); !errors.Is(err, rollcall.ErrInvalid) {
		t.Errorf("error is %v, want ErrInvalid", err)
	}
	if matches, _ := filepath.Glob(cfg.DataDir); len(matches) > 0 {
		t.Errorf("%s was created", cfg.DataDir)
	}
}
