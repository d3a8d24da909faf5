// Package check has the tests of what lies in deploy: by the parsers of BuildKit, of compose and of Kubernetes' own types. They are a module of
// their own, so that nobody else needs those.
package check
