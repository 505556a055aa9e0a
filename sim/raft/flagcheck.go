package raft

// CheckFlags parses etcd's arguments as Main does, and returns the flags among them that are accepted without
// effect. Errors are those that etcd's command line gives.
func CheckFlags(argv []string) (notModelled []string, err error) {
	c, err := parseConfig(argv)
	if err != nil {
		return nil, err
	}
	return c.unmodelled, nil
}
