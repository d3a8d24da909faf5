package wire

import (
	"errors"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// EtcdError returns etcd's own error, comparable with those of package rpctypes, out of whatever was wrapped around it.
func EtcdError(err error) error {
	if e, ok := errors.AsType[rpctypes.EtcdError](err); ok {
		return e
	}
	if s, ok := errors.AsType[interface {
		error
		GRPCStatus() *status.Status
	}](err); ok {
		return rpctypes.Error(s)
	}
	return err
}

// IsRefusal reports whether etcd decided against a request, rather than not answered it: trying again at once is of no
// use. A failed precondition is one of the member that was asked, which is a learner or still starts: the next one may do.
func IsRefusal(err error) bool {
	err = EtcdError(err)
	if errors.Is(err, rpctypes.ErrNoSpace) {
		return true
	}
	code := status.Code(err)
	if e, ok := errors.AsType[rpctypes.EtcdError](err); ok {
		code = e.Code()
	}
	switch code {
	case codes.PermissionDenied, codes.InvalidArgument, codes.Unauthenticated, codes.Unimplemented:
		return true
	}
	return false
}

// TokenDied reports whether etcd refused for the token: one that has expired, that is older than the latest change of
// anybody's permissions, or none because logging in was not needed then. A fresh stream brings a fresh one.
func TokenDied(err error) bool {
	err = EtcdError(err)
	return errors.Is(err, rpctypes.ErrInvalidAuthToken) || errors.Is(err, rpctypes.ErrAuthOldRevision) || errors.Is(err, rpctypes.ErrUserEmpty)
}
