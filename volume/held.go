package volume

import "elstore/volume/fault"

// held refuses a change of a volume that somebody needs as it is, such as a live migration. The caller has the volume's locks, so that
// whoever holds it since sees what the change made.
func (s *Service) held(h *handle) error {
	if s.cfg.Held == nil {
		return nil
	}
	return s.cfg.Held(h.found.ID)
}

// unrecorded refuses, with code, what can't be done to a volume whose exports are recorded beside it. In the bin there stands nothing. A
// volume without records costs no look at the disk: h.found says so.
func (s *Service) unrecorded(h *handle, code fault.Code, what string) error {
	if s.cfg.Exported == nil || !h.found.Records || !h.found.Trashed.IsZero() {
		return nil
	}
	dir, err := h.at.backend.Directory(h.found.ID)
	if err != nil {
		return err
	}
	defer dir.Close()
	if why := s.cfg.Exported(h.found.ID, dir); why != "" {
		return fault.Errorf(code, "%s; while that lasts %s", why, what)
	}
	return nil
}
