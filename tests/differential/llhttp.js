// SPDX-License-Identifier: Apache-2.0
// What Node's llhttp sees in a connection, as the same canonical lines that codec.c prints (described there).
'use strict';
process.noDeprecation = true;
const { HTTPParser, methods } = process.binding('http_parser');

const escape = (s) => ' ' + Buffer.from(s, 'latin1').toString('latin1')
  .replace(/[^0-9A-Za-z]/g, (c) => '%' + c.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0'));

function fields(letter, flat) {
  let out = '';
  for (let i = 0; i < flat.length; i += 2)
    out += ` ${letter}${escape(flat[i])}${escape(flat[i + 1])}`;
  return out;
}

function read(kind, piece, bytes) {
  const isResponse = kind !== 'request';
  const parser = new HTTPParser();
  let out = '', end = '', message = null;

  parser.initialize(isResponse ? HTTPParser.RESPONSE : HTTPParser.REQUEST, {});
  parser[HTTPParser.kOnMessageBegin] = () => { message = { head: null, fields: [], body: '', trailers: [] }; };
  // Fields that did not fit in one call, and the URL with them, come here; trailers too.
  parser[HTTPParser.kOnHeaders] = (flat, url) => {
    if (message.head === null)
      message.url = (message.url || '') + url;
    (message.head === null ? message.fields : message.trailers).push(...flat);
  };
  parser[HTTPParser.kOnHeadersComplete] = (major, minor, flat, method, url, status, reason, upgrade, keep) => {
    message.fields.push(...(flat || []));
    message.keep = keep;
    message.head = isResponse ? `S ${status}${escape(reason)} ${minor}` :
      `M${escape(methods[method])}${escape(url === undefined ? message.url : (message.url || '') + url)} ${minor}`;
    message.upgrade = isResponse ? status === 101 || (kind === 'connect' && status >= 200 && status < 300) :
      methods[method] === 'CONNECT';
    if (message.upgrade)
      return 2;
    return kind === 'head' ? 1 : 0;
  };
  parser[HTTPParser.kOnBody] = (chunk, offset, length) => {
    message.body += (offset === undefined ? chunk : chunk.slice(offset, offset + length)).toString('latin1');
  };
  parser[HTTPParser.kOnMessageComplete] = () => {
    if (end !== '')
      return;
    out += `${message.head}${fields('F', message.fields)} B${escape(message.body)}` +
      `${fields('T', message.trailers)}${message.keep ? ' K' : ''}; `;
    if (message.upgrade)
      end = 'U';
    else if (!message.keep)
      end = 'C';
    message = null;
  };

  const step = piece === 0 ? bytes.length : piece;
  for (let i = 0; i < bytes.length && end === ''; i += step) {
    const result = parser.execute(bytes.subarray(i, i + step));
    if (result instanceof Error && end === '')
      end = 'E';
  }
  if (end === '' && parser.finish() instanceof Error)
    end = '~';
  return out + (end === '' ? '.' : end);
}

for (const line of require('fs').readFileSync(0, 'latin1').split('\n')) {
  if (line === '')
    continue;
  const [kind, piece, hex] = line.split(' ');
  console.log(read(kind, Number(piece), Buffer.from(hex, 'hex')));
}
