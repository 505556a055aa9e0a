package apiserver

import "ksim/sim/api"

// rareRegistry makes the storage of a resource that few clusters have objects of when it is first asked for. It has no
// watch cache: what is read comes from etcd.
func (s *Server) rareRegistry(r *api.Resource) *registry {
	g := &registry{client: s.newEtcdClient()}
	s.registries[r] = g
	return g
}
