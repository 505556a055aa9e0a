package fields

// Rows returns the verdict of each Type.field.
func Rows() map[string]string {
	all := map[string]string{}
	for name, rows := range table {
		for field, r := range rows {
			all[name+"."+field] = [...]string{"", "acts", "harmless", "warns"}[r.verdict]
		}
	}
	return all
}

// Reasons returns what is said of each field that does not act.
func Reasons() map[string]string {
	all := map[string]string{}
	for name, rows := range table {
		for field, r := range rows {
			if r.verdict != acts {
				all[name+"."+field] = r.why
			}
		}
	}
	return all
}
