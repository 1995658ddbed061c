package volume

// held refuses a change of a volume that somebody needs as it is, such as a live migration. The caller has the volume's locks, so that
// whoever holds it since sees what the change made.
func (s *Service) held(h *handle) error {
	if s.cfg.Held == nil {
		return nil
	}
	return s.cfg.Held(h.found.ID)
}
