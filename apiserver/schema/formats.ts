// The `format` words of OpenAPI that are checked; a word that is not here is documentation.
import { isIP, isIPv4, isIPv6 } from 'node:net';

const DATE = /^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$/;
const DATE_TIME =
  /^(\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01]))[Tt](?:[01]\d|2[0-3]):[0-5]\d:(?:[0-5]\d|60)(?:\.\d{1,9})?(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/;
const GO_DURATION = /^[+-]?(?:0|(?:(?:\d{1,20}(?:\.\d{0,20})?|\.\d{1,20})(?:ns|us|µs|μs|ms|s|m|h)){1,20})$/;
const WORD_DURATION = /^\d{1,20}\s?(?:ns|nano|us|µs|micro|ms|milli|s|sec|m|min|h|hr|hour|d|day|w|wk|week)s?$/;
const HOSTNAME =
  /^(?=.{1,253}\.?$)[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*\.?$/;
const EMAIL = /^[^\s@<>,;:"()[\]\\]{1,64}@[a-zA-Z0-9](?:[a-zA-Z0-9.-]{0,253}[a-zA-Z0-9])?$/;
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
const MAC =
  /^(?:[0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){5}|[0-9a-fA-F]{2}(?:-[0-9a-fA-F]{2}){5}|[0-9a-fA-F]{4}(?:\.[0-9a-fA-F]{4}){2})$/;
const UUID = /^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$/i;

const STRING_FORMATS: Readonly<Record<string, (text: string) => boolean>> = {
  'date-time': (text) => isRealDay(DATE_TIME.exec(text)?.[1]),
  date: (text) => DATE.test(text) && isRealDay(text),
  duration: (text) => GO_DURATION.test(text) || WORD_DURATION.test(text),
  hostname: (text) => HOSTNAME.test(text),
  email: (text) => EMAIL.test(text),
  uri: (text) => URL.canParse(text) || (text.startsWith('/') && URL.canParse(text, 'http://localhost')),
  ipv4: isIPv4,
  ipv6: isIPv6,
  cidr: isCidr,
  mac: (text) => MAC.test(text),
  uuid: (text) => UUID.test(text),
  byte: (text) => BASE64.test(text),
};

/** Whether `text` has the form that `format` names; true for unknown formats. */
export function hasStringFormat(format: string, text: string): boolean {
  return Object.hasOwn(STRING_FORMATS, format) ? (STRING_FORMATS[format]?.(text) ?? true) : true;
}

/** Whether a number fits the size that `format` names. */
export function hasNumberFormat(format: string, value: number): boolean {
  switch (format) {
    case 'int32':
      return Number.isInteger(value) && value >= -(2 ** 31) && value < 2 ** 31;
    case 'int64':
      return Number.isInteger(value) && value >= -(2 ** 63) && value < 2 ** 63;
    case 'float':
      return Math.abs(value) <= 3.4028234663852886e38;
    default:
      return true;
  }
}

/** `10.0.0.0/8`, `fd00::/8`. */
export function isCidr(text: string): boolean {
  const match = /^([0-9a-fA-F.:]{2,45})\/(\d{1,3})$/.exec(text);
  if (!match) return false;
  const family = isIP(match[1] ?? '');
  return family !== 0 && Number(match[2]) <= (family === 4 ? 32 : 128);
}

// 30 February has the right form and does not exist.
function isRealDay(day: string | undefined): boolean {
  if (day === undefined) return false;
  const at = new Date(`${day}T00:00:00Z`);
  return !Number.isNaN(at.getTime()) && at.toISOString().startsWith(day);
}
