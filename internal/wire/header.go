package wire

import pb "go.etcd.io/etcd/api/v3/etcdserverpb"

// Header says where in etcd's history an answer is from.
type Header struct {
	Cluster, Term uint64
	Revision      int64
}

// HeaderOf reads the header of an answer.
func HeaderOf(h *pb.ResponseHeader) Header {
	return Header{Cluster: h.GetClusterId(), Term: h.GetRaftTerm(), Revision: h.GetRevision()}
}

// Before reports whether a linearizable answer is from another history than one that was held when its request was sent:
// in one history nothing ever goes back. Nothing is before the zero Header.
func (h Header) Before(held Header) bool {
	return held != Header{} && (h.Cluster != held.Cluster || h.Revision < held.Revision || h.Term < held.Term)
}
