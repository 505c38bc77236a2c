// The Python of scripts, as far as scripts need it: assert, print, assignments, if, and expressions over tcp_info.
//
// It is read and evaluated here, not handed to any interpreter: a script can compute, and nothing else.

import { Unsupported } from './script.ts';

export type Value = number | string | boolean | undefined;

export interface CodeResult {
  /** What print wrote. */
  readonly printed: readonly string[];
  /** The assertion that does not hold, with the values it names; undefined when all hold. */
  readonly failure: string | undefined;
}

/** Runs a snippet. `lookup` gives the value of a name, or undefined. Throws {@link Unsupported} for what is not understood. */
export function runCode(source: string, lookup: (name: string) => Value): CodeResult {
  const printed: string[] = [];
  const own = new Map<string, Value>();
  const get = (name: string): Value => {
    const value = own.has(name) ? own.get(name) : lookup(name);
    if (value === undefined) throw new Unsupported(`the name ${name} in code`);
    return value;
  };
  for (const statement of statements(source)) {
    const failure = runStatement(statement, get, own, printed);
    if (failure !== undefined) return { printed, failure };
  }
  return { printed, failure: undefined };
}

/** Lines, and what semicolons part; brackets and backslashes join lines. */
function statements(source: string): string[] {
  const list: string[] = [];
  let text = '';
  let depth = 0;
  let quote = '';
  for (let i = 0; i < source.length; i++) {
    const c = source[i]!;
    if (quote !== '') {
      if (c === quote && source[i - 1] !== '\\') quote = '';
    } else if (c === '"' || c === "'") quote = c;
    else if (c === '#') {
      while (i + 1 < source.length && source[i + 1] !== '\n') i++;
      continue;
    } else if (c === '(' || c === '[') depth++;
    else if (c === ')' || c === ']') depth--;
    else if (c === '\\' && source[i + 1] === '\n') {
      i++;
      continue;
    } else if (depth === 0 && (c === '\n' || c === ';')) {
      list.push(text);
      text = '';
      continue;
    }
    text += c;
  }
  list.push(text);
  return list.map((s) => s.trim()).filter((s) => s !== '');
}

function runStatement(
  text: string,
  get: (name: string) => Value,
  own: Map<string, Value>,
  printed: string[],
): string | undefined {
  if (/^(import|from)\s|^pass$/.test(text)) return undefined;
  const conditional = /^if\s+(.*?):\s*(\S.*)$/.exec(text);
  if (conditional !== null) {
    if (!truth(evaluate(conditional[1]!, get))) return undefined;
    return runStatement(conditional[2]!, get, own, printed);
  }
  const assertion = /^assert\b\s*([\s\S]*)$/.exec(text);
  if (assertion !== null) return runAssert(assertion[1]!, get);
  const print = /^print\b\s*([\s\S]*)$/.exec(text);
  if (print !== null) {
    printed.push(
      evaluateList(print[1]!.replace(/^\(([\s\S]*)\)$/, '$1'), get)
        .map(String)
        .join(' '),
    );
    return undefined;
  }
  const assignment = /^([A-Za-z_]\w*)\s*=(?!=)\s*([\s\S]*)$/.exec(text);
  if (assignment === null) throw new Unsupported(`the statement ${text.split(/\s/)[0]} in code`);
  own.set(assignment[1]!, evaluate(assignment[2]!, get));
  return undefined;
}

function runAssert(text: string, get: (name: string) => Value): string | undefined {
  const names = new Map<string, Value>();
  const noted = (name: string): Value => {
    const value = get(name);
    if (!/^[A-Z_]+$/.test(name)) names.set(name, value);
    return value;
  };
  const [condition, ...message] = evaluateList(text, noted);
  if (truth(condition)) return undefined;
  const values = [...names].map(([name, value]) => `${name} = ${value}`).join(', ');
  const said = message.length > 0 && names.size === 0 ? ` (${message.join(' ')})` : '';
  return `assert ${text.replace(/\s+/g, ' ')}: ${values}${said}`;
}

function truth(value: Value): boolean {
  return value !== undefined && value !== false && value !== 0 && value !== '';
}

function evaluate(text: string, get: (name: string) => Value): Value {
  const values = evaluateList(text, get);
  if (values.length !== 1) throw new Unsupported('a tuple in code');
  return values[0];
}

function evaluateList(text: string, get: (name: string) => Value): Value[] {
  if (text.trim() === '') return [];
  const reader = new Reader(text, get);
  const values = [reader.expression(0)];
  while (reader.accept(',')) values.push(reader.expression(0));
  reader.end();
  return values;
}

/** Operators by how tightly they bind, as in Python. */
const LEVELS: Readonly<Record<string, number>> = {
  or: 1,
  and: 2,
  '==': 4,
  '!=': 4,
  '<': 4,
  '<=': 4,
  '>': 4,
  '>=': 4,
  '|': 5,
  '^': 6,
  '&': 7,
  '<<': 8,
  '>>': 8,
  '+': 9,
  '-': 9,
  '*': 10,
  '/': 10,
  '//': 10,
  '%': 10,
};
const NOT_LEVEL = 3;
const UNARY_LEVEL = 11;
const COMPARE_LEVEL = 4;

const TOKEN =
  /\s*(0[xX][0-9a-fA-F]+|\d+\.\d*|\.\d+|\d+|[A-Za-z_]\w*|'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|==|!=|<=|>=|<<|>>|\/\/|\*\*|[-+*/%<>()|&^~,.[\]=])/y;

class Reader {
  readonly #tokens: string[] = [];
  readonly #get: (name: string) => Value;
  #at = 0;

  constructor(text: string, get: (name: string) => Value) {
    this.#get = get;
    TOKEN.lastIndex = 0;
    while (TOKEN.lastIndex < text.length) {
      const from = TOKEN.lastIndex;
      const m = TOKEN.exec(text);
      if (m === null) {
        if (text.slice(from).trim() === '') break;
        throw new Unsupported(`${text.slice(from).trim()} in code`);
      }
      this.#tokens.push(m[1]!);
    }
  }

  accept(token: string): boolean {
    if (this.#tokens[this.#at] !== token) return false;
    this.#at++;
    return true;
  }

  end(): void {
    if (this.#at < this.#tokens.length) throw new Unsupported(`${this.#tokens[this.#at]} in code`);
  }

  /** An expression of operators that bind more tightly than `level`. */
  expression(level: number): Value {
    let left = this.#prefix();
    for (;;) {
      const operator = this.#tokens[this.#at];
      const binds = operator === undefined ? undefined : LEVELS[operator];
      if (binds === undefined || binds <= level) return left;
      this.#at++;
      left =
        binds === COMPARE_LEVEL ? this.#comparison(left, operator!) : this.#binary(operator!, left, binds);
    }
  }

  /** `a < b <= c` is `a < b and b <= c`. */
  #comparison(first: Value, operator: string): Value {
    let left = first;
    let holds = true;
    for (let o: string | undefined = operator; ; ) {
      const right = this.expression(COMPARE_LEVEL);
      holds = holds && compareValues(o, left, right);
      left = right;
      o = this.#tokens[this.#at];
      if (o === undefined || LEVELS[o] !== COMPARE_LEVEL) return holds;
      this.#at++;
    }
  }

  #binary(operator: string, left: Value, level: number): Value {
    const right = this.expression(level);
    if (operator === 'and') return truth(left) ? right : left;
    if (operator === 'or') return truth(left) ? left : right;
    return arithmetic(operator, left, right);
  }

  #prefix(): Value {
    const token = this.#tokens[this.#at++];
    if (token === undefined) throw new Unsupported('code that breaks off');
    if (token === 'not') return !truth(this.expression(NOT_LEVEL));
    if (token === '-') return -asNumber(this.expression(UNARY_LEVEL));
    if (token === '+') return asNumber(this.expression(UNARY_LEVEL));
    if (token === '~') return ~asNumber(this.expression(UNARY_LEVEL));
    if (token === '(') {
      const value = this.expression(0);
      if (!this.accept(')')) throw new Unsupported('a tuple in code');
      return value;
    }
    if (/^[\d.]/.test(token)) return Number(token);
    if (/^['"]/.test(token)) return token.slice(1, -1);
    if (!/^[A-Za-z_]/.test(token)) throw new Unsupported(`${token} in code`);
    return this.#name(token);
  }

  #name(name: string): Value {
    if (name === 'True') return true;
    if (name === 'False') return false;
    if (!this.accept('(')) return this.#get(name);
    const args: number[] = [];
    while (!this.accept(')')) {
      args.push(asNumber(this.expression(0)));
      if (!this.accept(',') && this.#tokens[this.#at] !== ')') throw new Unsupported(`${name}() in code`);
    }
    const call = CALLS[name];
    if (call === undefined) throw new Unsupported(`${name}() in code`);
    return call(...args);
  }
}

const CALLS: Readonly<Record<string, (...args: number[]) => number>> = {
  abs: Math.abs,
  min: Math.min,
  max: Math.max,
  int: (n = 0) => Math.trunc(n),
  round: (n = 0) => Math.round(n),
};

function asNumber(value: Value): number {
  if (typeof value === 'string') throw new Unsupported('arithmetic on text in code');
  return Number(value ?? 0);
}

function compareValues(operator: string, a: Value, b: Value): boolean {
  const x = typeof a === 'boolean' ? Number(a) : a;
  const y = typeof b === 'boolean' ? Number(b) : b;
  if (operator === '==') return x === y;
  if (operator === '!=') return x !== y;
  const [m, n] = [asNumber(x), asNumber(y)];
  if (operator === '<') return m < n;
  if (operator === '<=') return m <= n;
  return operator === '>' ? m > n : m >= n;
}

function arithmetic(operator: string, left: Value, right: Value): Value {
  // `'%d' % n` in the message of an assertion.
  if (operator === '%' && typeof left === 'string') return left.replace(/%[ds]/, String(right));
  if (operator === '+' && typeof left === 'string') return left + String(right);
  const [a, b] = [asNumber(left), asNumber(right)];
  switch (operator) {
    case '|':
      return a | b;
    case '^':
      return a ^ b;
    case '&':
      return a & b;
    case '<<':
      return a * 2 ** b;
    case '>>':
      return Math.floor(a / 2 ** b);
    case '+':
      return a + b;
    case '-':
      return a - b;
    case '*':
      return a * b;
    case '/':
      return a / b;
    case '//':
      return Math.floor(a / b);
    default:
      return a - b * Math.floor(a / b);
  }
}
