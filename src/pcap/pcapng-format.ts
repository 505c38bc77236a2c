// Numbers of the pcapng format (draft-ietf-opsawg-pcapng): block types, option codes, magic.

export const SECTION_HEADER = 0x0a0d0d0a;
export const INTERFACE_DESCRIPTION = 1;
/** The Packet Block: obsolete, read but never written. */
export const PACKET = 2;
export const SIMPLE_PACKET = 3;
export const NAME_RESOLUTION = 4;
export const INTERFACE_STATISTICS = 5;
export const ENHANCED_PACKET = 6;
export const SYSTEMD_JOURNAL = 9;
export const DECRYPTION_SECRETS = 10;
/** Custom blocks: a rewriting tool may copy the first kind and must drop the second. */
export const CUSTOM_COPY = 0x0000_0bad;
export const CUSTOM_NO_COPY = 0x4000_0bad;

/** The byte-order magic, as read in the right order. */
export const BYTE_ORDER_MAGIC = 0x1a2b3c4d;

// Options of every block.
export const OPT_END = 0;
export const OPT_COMMENT = 1;
export const OPT_CUSTOM_STRING = 2988;
export const OPT_CUSTOM_BYTES = 2989;
export const OPT_CUSTOM_STRING_NO_COPY = 19372;
export const OPT_CUSTOM_BYTES_NO_COPY = 19373;

export const SHB_HARDWARE = 2;
export const SHB_OS = 3;
export const SHB_USERAPPL = 4;

export const IF_NAME = 2;
export const IF_DESCRIPTION = 3;
export const IF_IPV4 = 4;
export const IF_IPV6 = 5;
export const IF_MAC = 6;
export const IF_EUI64 = 7;
export const IF_SPEED = 8;
export const IF_TSRESOL = 9;
export const IF_FILTER = 11;
export const IF_OS = 12;
export const IF_FCSLEN = 13;
export const IF_TSOFFSET = 14;
export const IF_HARDWARE = 15;

export const EPB_FLAGS = 2;
export const EPB_HASH = 3;
export const EPB_DROPCOUNT = 4;
export const EPB_PACKETID = 5;
export const EPB_QUEUE = 6;
export const EPB_VERDICT = 7;

export const NS_DNSNAME = 2;
export const NS_DNSIP4 = 3;
export const NS_DNSIP6 = 4;

export const ISB_STARTTIME = 2;
export const ISB_ENDTIME = 3;
export const ISB_IFRECV = 4;
export const ISB_IFDROP = 5;
export const ISB_FILTERACCEPT = 6;
export const ISB_OSDROP = 7;
export const ISB_USRDELIV = 8;

// Record types of the Name Resolution Block.
export const NRB_END = 0;
export const NRB_IPV4 = 1;
export const NRB_IPV6 = 2;
export const NRB_EUI48 = 3;
export const NRB_EUI64 = 4;

// Secrets types of the Decryption Secrets Block.
export const SECRETS_TLS_KEY_LOG = 0x544c534b;
export const SECRETS_SSH_KEY_LOG = 0x5353484b;
export const SECRETS_WIREGUARD_KEY_LOG = 0x57474b4c;

export const LINKTYPE_ETHERNET = 1;
