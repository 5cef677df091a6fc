module github.com/NodePassProject/pool

go 1.25.0
