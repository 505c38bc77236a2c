// Ports of the servers: the numbers that RFC 862, 863 and 864 gave them.

export const ECHO = 7;
export const DISCARD = 9;
export const SOURCE = 19;
