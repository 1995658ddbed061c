module elstore

go 1.26
