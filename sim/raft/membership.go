package raft

import (
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"
)

// memberID derives a member's ID as etcd does (etcdserver/api/membership/member.go, v3.6): from the peer URLs and
// the cluster token, for members that the cluster begins with.
func memberID(peerURLs []string, token string) uint64 {
	sorted := slices.Clone(peerURLs)
	sort.Strings(sorted)
	return firstBytes([]byte(strings.Join(sorted, "") + token))
}

// addedMemberID derives the ID of a member that is added at run time: from the peer URLs and the time, so it is
// always new.
func addedMemberID(peerURLs []string, now time.Time) uint64 {
	return memberID(peerURLs, fmt.Sprintf("%d", now.Unix()))
}

// clusterID derives the cluster's ID from the IDs of its first members.
func clusterID(members []uint64) uint64 {
	sorted := slices.Clone(members)
	slices.Sort(sorted)
	b := make([]byte, 0, 8*len(sorted))
	for _, id := range sorted {
		b = binary.BigEndian.AppendUint64(b, id)
	}
	return firstBytes(b)
}

func firstBytes(b []byte) uint64 {
	sum := sha1.Sum(b)
	return binary.BigEndian.Uint64(sum[:8])
}

// parseInitialCluster reads --initial-cluster: name=url pairs, a name with several URLs several times.
func parseInitialCluster(list string) (map[string][]string, error) {
	urls := map[string][]string{}
	for _, pair := range splitURLs(list) {
		name, url, found := strings.Cut(pair, "=")
		if !found || name == "" || url == "" {
			return nil, fmt.Errorf("error setting up initial cluster: empty URL given for %q", name)
		}
		if !strings.HasPrefix(url, "http://") && !strings.HasPrefix(url, "https://") {
			return nil, fmt.Errorf("error setting up initial cluster: URL scheme must be http, https, unix, or unixs: %s", url)
		}
		urls[name] = append(urls[name], url)
	}
	return urls, nil
}

// membership is what a member knows of the cluster's members: etcd's RaftCluster.
type membership struct {
	id      uint64 // of the cluster
	members map[uint64]*Member
	removed map[uint64]bool
	version string // of the cluster
}

func newMembership() *membership {
	return &membership{members: map[uint64]*Member{}, removed: map[uint64]bool{}}
}

// bootstrapMembership is the cluster that --initial-cluster describes.
func bootstrapMembership(urls map[string][]string, token string) *membership {
	c := newMembership()
	var ids []uint64
	for name, peers := range urls { // any order: the IDs are sorted
		m := &Member{ID: memberID(peers, token), Name: name, PeerURLs: peers}
		c.members[m.ID] = m
		ids = append(ids, m.ID)
	}
	c.id = clusterID(ids)
	return c
}

// sorted returns the members by ID, as etcdctl member list prints them.
func (c *membership) sorted() []*Member {
	all := make([]*Member, 0, len(c.members))
	for _, m := range c.members { // any order: sorted below
		all = append(all, m)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].ID < all[j].ID })
	return all
}

// list returns copies of the members, for an answer.
func (c *membership) list() []Member {
	var list []Member
	for _, m := range c.sorted() {
		list = append(list, *m)
	}
	return list
}

// clone returns a copy that does not change with c.
func (c *membership) clone() *membership {
	d := newMembership()
	d.id, d.version = c.id, c.version
	for id, m := range c.members { // any order: into a map
		copied := *m
		d.members[id] = &copied
	}
	for id := range c.removed { // any order: into a map
		d.removed[id] = true
	}
	return d
}

func (c *membership) byName(name string) *Member {
	for _, m := range c.sorted() {
		if m.Name == name {
			return m
		}
	}
	return nil
}

func (c *membership) voters() (n int) {
	for _, m := range c.members { // any order: a count
		if !m.IsLearner {
			n++
		}
	}
	return n
}

// startedVoters counts voters that have published themselves, leaving one out.
func (c *membership) startedVoters(except uint64) (n int) {
	for _, m := range c.members { // any order: a count
		if !m.IsLearner && m.Name != "" && m.ID != except {
			n++
		}
	}
	return n
}

// readyToAdd is IsReadyToAddVotingMember: enough voters have started for the quorum of the new size.
func (c *membership) readyToAdd() bool {
	started := c.startedVoters(0)
	if c.voters() == 1 && started == 1 {
		return true // a cluster of one may grow to two, though that stops it until the second has joined
	}
	return started >= (c.voters()+1)/2+1
}

// readyToRemove is IsReadyToRemoveVotingMember: enough others have started for the quorum without it.
func (c *membership) readyToRemove(id uint64) bool {
	rest := c.voters()
	if m := c.members[id]; m != nil && !m.IsLearner {
		rest--
	}
	return c.startedVoters(id) >= rest/2+1
}

// readyToPromote is IsReadyToPromoteMember.
func (c *membership) readyToPromote(id uint64) bool {
	started := c.startedVoters(0) + 1 // the learner, which is taken to have started
	return started >= (c.voters()+1)/2+1
}

// checkAdd returns what speaks against adding a member (ValidateConfigurationChange).
func (c *membership) checkAdd(m *Member, maxLearners int) error {
	if c.removed[m.ID] {
		return errRemovedID
	}
	if c.members[m.ID] != nil {
		return ErrMemberExist
	}
	learners := 0
	for _, other := range c.sorted() {
		for _, u := range m.PeerURLs {
			if slices.Contains(other.PeerURLs, u) {
				return ErrPeerURLExist
			}
		}
		if other.IsLearner {
			learners++
		}
	}
	if m.IsLearner && learners+1 > maxLearners {
		return ErrTooManyLearners
	}
	return nil
}

var errRemovedID = &Error{Unknown, "membership: ID removed", false}

// assignIDs takes names' IDs from an existing cluster by their peer URLs (ValidateClusterAndAssignIDs).
func assignIDs(local map[string][]string, existing *membership) (*membership, error) {
	if len(local) != len(existing.members) {
		return nil, errors.New("member count is unequal")
	}
	c := existing.clone()
	names := make([]string, 0, len(local))
	for name := range local { // any order: sorted below
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		found := false
		for _, m := range c.sorted() {
			if sameURLs(m.PeerURLs, local[name]) {
				m.Name, found = name, true
			}
		}
		if !found {
			return nil, errors.New("PeerURLs: no match found for existing member (" + describeURLs(existing) +
				"), last resolver error (len([" + strings.Join(local[name], " ") + "]) != len([]))")
		}
	}
	return c, nil
}

func describeURLs(c *membership) string {
	var all []string
	for _, m := range c.sorted() {
		all = append(all, fmt.Sprintf("%x, %v", m.ID, m.PeerURLs))
	}
	return strings.Join(all, "; ")
}

func sameURLs(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	sort.Strings(a)
	sort.Strings(b)
	return slices.Equal(a, b)
}
