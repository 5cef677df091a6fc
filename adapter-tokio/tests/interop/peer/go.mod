module interop/peer

go 1.25.0

require github.com/NodePassProject/pool v1.0.50
