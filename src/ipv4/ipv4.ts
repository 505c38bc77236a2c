// IPv4: takes packets apart on their way up, and is the one place that owns its parts. RFC 791, RFC 1122 3.

export type { Ipv4Needs, Route, RouteTable } from './needs.ts';
