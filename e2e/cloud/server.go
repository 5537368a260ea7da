package cloud

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// maxBody is more than any test sends.
const maxBody = 64 << 20

// Server is the API. Its zero value is not usable; see NewServer.
type Server struct {
	http.Handler
	mutex  sync.Mutex
	spaces map[string]*space
}

// NewServer makes an API without things or faults.
func NewServer() *Server {
	s := &Server{spaces: map[string]*space{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("PUT /spaces/{space}/faults", s.faults)
	mux.HandleFunc("PUT /spaces/{space}/tokens/{token}", s.issue)
	mux.HandleFunc("POST /spaces/{space}/operations/{op}", s.begin)
	mux.HandleFunc("GET /spaces/{space}/operations/{op}", s.count)
	mux.HandleFunc("GET /spaces/{space}/things", s.list)
	mux.HandleFunc("/spaces/{space}/things/{name}", s.thing)
	s.Handler = mux
	return s
}

func (s *Server) space(r *http.Request) *space {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	name := r.PathValue("space")
	if s.spaces[name] == nil {
		s.spaces[name] = newSpace()
	}
	return s.spaces[name]
}

func (s *Server) faults(w http.ResponseWriter, r *http.Request) {
	var faults []Fault
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&faults); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.space(r).setFaults(faults)
}

// issue makes a token good for ?seconds=n from now on.
func (s *Server) issue(w http.ResponseWriter, r *http.Request) {
	seconds, err := strconv.Atoi(r.URL.Query().Get("seconds"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.space(r).issue("Bearer "+r.PathValue("token"), time.Now().Add(time.Duration(seconds)*time.Second))
}

func (s *Server) begin(w http.ResponseWriter, r *http.Request) {
	orders, err := s.space(r).begin(r.Context(), r.PathValue("op"), r.Header.Get("Authorization"))
	answer(w, orders, err)
}

// count answers when the operation was begun ?atleast=n times.
func (s *Server) count(w http.ResponseWriter, r *http.Request) {
	atLeast, _ := strconv.Atoi(r.URL.Query().Get("atleast"))
	n, err := s.space(r).count(r.Context(), r.PathValue("op"), atLeast)
	answer(w, n, err)
}

func (s *Server) list(w http.ResponseWriter, r *http.Request) { answer(w, s.space(r).all(), nil) }

func (s *Server) thing(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	name, space := r.PathValue("name"), s.space(r)
	switch r.Method {
	case http.MethodGet:
		value, err := space.get(name)
		answer(w, value, err)
	case http.MethodPost:
		answer(w, nil, space.create(name, string(body)))
	case http.MethodPut:
		space.put(name, string(body))
	case http.MethodDelete:
		space.remove(name)
	default:
		http.Error(w, "unknown method", http.StatusMethodNotAllowed)
	}
}

func answer(w http.ResponseWriter, body any, err error) {
	switch {
	case errors.Is(err, ErrExists):
		http.Error(w, err.Error(), http.StatusConflict)
	case errors.Is(err, ErrNotFound):
		http.Error(w, err.Error(), http.StatusNotFound)
	case err != nil:
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	default:
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(body) // the caller is gone: nobody to tell
	}
}
