// What we use of buffer-layout 1.2, which brings no types of its own.

declare module 'buffer-layout' {
  export class Layout<T = unknown> {
    constructor(span: number, property?: string);
    readonly span: number;
    readonly property: string | undefined;
    decode(bytes: Uint8Array, offset?: number): T;
    encode(source: T, bytes: Uint8Array, offset?: number): number;
  }
  export class BitStructure extends Layout<Record<string, number>> {
    addField(bits: number, property?: string): unknown;
  }
  export class UIntBE extends Layout<number> {}
  export function bits(word: Layout<number>, msb: boolean, property?: string): BitStructure;
  export function struct(fields: readonly Layout[], property?: string): Layout<Record<string, unknown>>;
}
