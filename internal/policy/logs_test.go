package policy

import (
	"go/ast"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// logKeys are the words under which logs tell of things, each of one thing only: whoever searches the logs of a fleet has to know them. A
// new one needs a line here, and a look at whether there is a word for it already.
var logKeys = map[string]string{
	// of the registry
	"service": "a service's name", "instance": "an instance's id", "revision": "etcd's revision", "lease": "etcd's id of a lease", "ttl": "of a lease",
	"key": "a key in etcd", "prefix": "of keys", "held": "the revision that we had seen before", "term": "of etcd's leader", "registrations": "how many",
	"suspects": "how many", "events": "of the history, how many", "detail": "what a check met", "damping": "for how long a check that flaps counts as failing", "present": "how many instances are there", "reset": "whether etcd's history broke",

	// of the world
	"err": "an error", "file": "a file's name", "dir": "a directory's", "cert": "the file of a certificate", "endpoint": "an address of etcd, or of a collector of spans",
	"endpoints": "several", "version": "of a program", "cluster": "the members of the embedded etcd", "listener": "what we listen for", "from": "a client's address",
	"client": "the id that an xDS client gives itself", "resource": "a type of xDS resources",
	"method": "of a call or a request", "route": "of a request", "panic": "what a mistake said", "stack": "where it was made",

	// of time and measure
	"since": "a time", "after": "how long something lasted that is over", "took": "how long what was asked for did", "waited": "how long we did", "within": "how long something may take", "most": "how many at most",
	"step": "of leaving", "remedy": "what to do about it",
}

// variable are the files whose messages are put together, of constants, and why that is right.
var variable = map[string]string{
	"internal/wire/client.go": "one warning about one of a few settings, logged once for each client",
}

// calls that log, and where the message is among their arguments.
var logCalls = map[string]int{
	"Debug": 0, "Info": 0, "Warn": 0, "Error": 0,
	"DebugContext": 1, "InfoContext": 1, "WarnContext": 1, "ErrorContext": 1, "Log": 2, "LogAttrs": 2,
}

// A message that varies cannot be searched for, nor counted.
func TestLogMessagesAreConstant(t *testing.T) {
	found := 0
	eachLog(t, func(where string, call *ast.CallExpr, message int) {
		found++
		text, constant := constantText(call.Args[message])
		switch {
		case !constant && variable[strings.Split(where, ":")[0]] != "":
		case !constant:
			t.Errorf("%s: the message is not a constant string", where)
		case text == "" || strings.HasSuffix(text, ".") || strings.ContainsAny(text, "%\n"):
			t.Errorf("%s: the message %q is empty, ends in a full stop, or has something in it to be filled in", where, text)
		}
	})
	if found < 20 {
		t.Errorf("only %d logs were found: the test looks in the wrong place", found)
	}
}

func TestLogKeysAreOfOneSet(t *testing.T) {
	used := map[string]bool{}
	eachLog(t, func(where string, call *ast.CallExpr, message int) {
		for _, key := range keysOf(call.Args[message+1:]) {
			used[key] = true
			if logKeys[key] == "" {
				t.Errorf("%s: the key %q is not in the list of keys; is there another word for it?", where, key)
			}
		}
	})
	for key := range logKeys {
		if !used[key] {
			t.Errorf("the key %q is in the list, and nothing is logged under it", key)
		}
	}
}

// eachLog calls do for each call of a slog logger in code that is no test.
func eachLog(t *testing.T, do func(where string, call *ast.CallExpr, message int)) {
	t.Helper()
	for _, p := range packages(t) {
		for _, path := range p.sources() {
			ast.Inspect(parse(t, path), func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				fun, ok := call.Fun.(*ast.SelectorExpr)
				if !ok || !isLogger(fun.X) {
					return true
				}
				if message, ok := logCalls[fun.Sel.Name]; ok && len(call.Args) > message {
					do(p.rel()+"/"+filepath.Base(path)+":"+strconv.Itoa(fileSet.Position(call.Pos()).Line), call, message)
				}
				return true
			})
		}
	}
}

// isLogger reports whether an expression is called as loggers are: logger, log, Logger, or a field of that name; or the package slog itself.
func isLogger(x ast.Expr) bool {
	var name string
	switch x := x.(type) {
	case *ast.Ident:
		name = x.Name
	case *ast.SelectorExpr:
		name = x.Sel.Name
	}
	return slices.Contains([]string{"logger", "Logger", "slog"}, name)
}

func constantText(x ast.Expr) (string, bool) {
	switch x := x.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(x.Value)
		return text, x.Kind == token.STRING && err == nil
	case *ast.Ident:
		return x.Name, x.Obj != nil && x.Obj.Kind == ast.Con
	}
	return "", false
}

// keysOf returns the keys of what follows a message: attributes, or keys and values in turn. A slice that is handed on has its keys where it
// is made.
func keysOf(args []ast.Expr) []string {
	var keys []string
	for i := 0; i < len(args); i++ {
		if call, ok := args[i].(*ast.CallExpr); ok && len(call.Args) > 0 {
			if fun, ok := call.Fun.(*ast.SelectorExpr); ok && isLogger(fun.X) {
				if key, ok := constantText(call.Args[0]); ok {
					keys = append(keys, key)
				}
				continue
			}
		}
		if key, ok := constantText(args[i]); ok {
			keys = append(keys, key)
			i++ // its value
		}
	}
	return keys
}
