package httpapi

import (
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/rollcall-io/rollcall/api"
)

// Check is one thing that the server needs to be ready.
type Check struct {
	Name string
	Err  error // why it is not as it should be; nil when it is
}

// live says that the process answers. It depends on nothing: no restart brings etcd back, and one loses what is in memory.
func (a *API) live(w http.ResponseWriter, r *http.Request) { report(w, r, "livez", nil) }

// ready says whether requests should come here.
func (a *API) ready(w http.ResponseWriter, r *http.Request) { report(w, r, "readyz", a.config.Ready()) }

// report answers as Kubernetes' own servers do: only the status counts, the rest is for people.
func report(w http.ResponseWriter, r *http.Request, name string, checks []Check) {
	values, err := query(r, "verbose", "exclude")
	if err != nil {
		refuse(w, http.StatusBadRequest, codes.InvalidArgument, err.Error())
		return
	}
	excluded := values["exclude"]
	var text strings.Builder
	failed := false
	for _, c := range checks {
		switch {
		case slices.Contains(excluded, c.Name):
			fmt.Fprintf(&text, "[+]%s excluded: ok\n", c.Name)
		case c.Err != nil:
			failed = true
			fmt.Fprintf(&text, "[-]%s failed: %s\n", c.Name, strings.ReplaceAll(c.Err.Error(), "\n", "; "))
		default:
			fmt.Fprintf(&text, "[+]%s ok\n", c.Name)
		}
	}
	for _, e := range excluded {
		if !slices.ContainsFunc(checks, func(c Check) bool { return c.Name == e }) {
			fmt.Fprintf(&text, "warn: there is no check %q to exclude\n", e)
		}
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	switch {
	case failed:
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = fmt.Fprintf(w, "%s%s check failed\n", &text, name)
	case values.Has("verbose"):
		_, _ = fmt.Fprintf(w, "%s%s check passed\n", &text, name)
	default:
		_, _ = fmt.Fprintln(w, "ok")
	}
}

func (a *API) version(w http.ResponseWriter, r *http.Request) {
	if _, err := query(r); err != nil {
		refuse(w, http.StatusBadRequest, codes.InvalidArgument, err.Error())
		return
	}
	writeJSON(w, struct {
		Version  string `json:"version"`
		Revision string `json:"revision"`
		Go       string `json:"go"`
	}{a.config.Version, a.config.Revision, runtime.Version()})
}

func (a *API) openAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(api.OpenAPI()))
}
