package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
)

// parameterTable has the query parameters that each call takes, by method and pattern: what the gateway does not know it leaves out
// without a word, and who misspells a filter would get everything.
type parameterTable map[string][]string

// variable is how a pattern names a part of a path.
var variable = regexp.MustCompile(`\{([a-z_]+)\}`)

// parameters reads the table from the same options from which the gateway was generated.
func parameters() (parameterTable, error) {
	table := parameterTable{}
	for _, file := range []protoreflect.FileDescriptor{
		rollcallv1.File_rollcall_v1_registration_proto, rollcallv1.File_rollcall_v1_discovery_proto, rollcallv1.File_rollcall_v1_control_proto,
		rollcallv1.File_rollcall_v1_history_proto, rollcallv1.File_rollcall_v1_operations_proto,
	} {
		for n := range file.Services().Len() {
			methods := file.Services().Get(n).Methods()
			for m := range methods.Len() {
				if err := table.add(methods.Get(m)); err != nil {
					return nil, err
				}
			}
		}
	}
	return table, nil
}

func (t parameterTable) add(method protoreflect.MethodDescriptor) error {
	if !proto.HasExtension(method.Options(), annotations.E_Http) {
		return nil
	}
	rule, _ := proto.GetExtension(method.Options(), annotations.E_Http).(*annotations.HttpRule)
	verb, pattern := routeOf(rule)
	if verb == "" || len(rule.GetAdditionalBindings()) > 0 || rule.GetBody() != "" && rule.GetBody() != "*" {
		return fmt.Errorf("the route of %s is of a kind that is not known here", method.FullName())
	}
	var names []string
	fields := method.Input().Fields()
	for n := range fields.Len() {
		field := fields.Get(n)
		if rule.GetBody() == "" && !strings.Contains(pattern, "{"+string(field.Name())+"}") {
			names = append(names, string(field.Name()), field.JSONName())
		}
	}
	t[verb+" "+variable.ReplaceAllString(pattern, "{$1=*}")] = names
	return nil
}

func routeOf(rule *annotations.HttpRule) (verb, pattern string) {
	switch {
	case rule.GetGet() != "":
		return http.MethodGet, rule.GetGet()
	case rule.GetPut() != "":
		return http.MethodPut, rule.GetPut()
	case rule.GetPost() != "":
		return http.MethodPost, rule.GetPost()
	case rule.GetDelete() != "":
		return http.MethodDelete, rule.GetDelete()
	}
	return "", ""
}

// check is the last before a call is made: it notes the route, decodes what [forGateway] encoded, and refuses parameters that the call
// does not take.
func (t parameterTable) check(next runtime.HandlerFunc) runtime.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request, path map[string]string) {
		pattern, _ := runtime.HTTPPattern(r.Context())
		requestOf(r.Context()).route = strings.ReplaceAll(pattern.String(), "=*}", "}")
		for name, escaped := range path {
			value, err := url.PathUnescape(escaped)
			if err != nil {
				refuse(w, http.StatusNotFound, codes.NotFound, "there is nothing at this path")
				return
			}
			path[name] = value
		}
		if _, err := query(r, t[r.Method+" "+pattern.String()]...); err != nil {
			refuse(w, http.StatusBadRequest, codes.InvalidArgument, err.Error())
			return
		}
		next(w, r, path)
	}
}

// misrouted answers requests for which there is no call.
func (t parameterTable) misrouted(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, httpStatus int) {
	if httpStatus == http.StatusMethodNotAllowed {
		notAllowed(w, t.methods(r.URL.Path))
		return
	}
	refuse(w, http.StatusNotFound, codes.NotFound, "there is nothing at this path")
}

// methods returns those that there are calls for at a path, with HEAD beside GET.
func (t parameterTable) methods(path string) []string {
	var methods []string
	for route := range t {
		method, pattern, _ := strings.Cut(route, " ")
		if !matches(strings.Split(pattern, "/"), strings.Split(path, "/")) {
			continue
		}
		methods = append(methods, method)
		if method == http.MethodGet {
			methods = append(methods, http.MethodHead)
		}
	}
	slices.Sort(methods)
	return methods
}

func matches(pattern, path []string) bool {
	return slices.EqualFunc(pattern, path, func(p, s string) bool { return p == s || strings.HasPrefix(p, "{") })
}

// query returns a request's parameters, all of which have one of the given names.
func query(r *http.Request, names ...string) (url.Values, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, fmt.Errorf("the query cannot be read: %w", err)
	}
	for name, all := range values {
		if !slices.Contains(names, name) {
			return nil, fmt.Errorf("there is no query parameter %q here", name)
		}
		if !utf8.ValidString(strings.Join(all, "")) {
			return nil, fmt.Errorf("query parameter %q is not UTF-8", name)
		}
	}
	return values, nil
}

// single returns a parameter that there is at most once.
func single(values url.Values, name string) (string, error) {
	if len(values[name]) > 1 {
		return "", fmt.Errorf("query parameter %q is there more than once", name)
	}
	return values.Get(name), nil
}
