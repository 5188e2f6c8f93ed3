"""The loops over pixels, compiled by numba: what arrays as a whole cannot say without making the work many times over.

Every loop has its own fixed order of additions and multiplications, none of which numba may change, so that the pixels
are the same on every machine with IEEE arithmetic. What is compiled is kept in `__pycache__` beside this file (or in
numba's own folder where that cannot be written), so that only the first process ever waits for it.

Import this module where it is needed, not at the head of a file: it takes some tenths of a second, and training or
evaluating needs none of it.
"""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

# A signature's arrays are contiguous; they may be ones that cannot be written.
_F32, _F64, _I32, _U8, _U32 = (
    {axes: numba.types.Array(kind, axes, "C", readonly=True) for axes in (1, 2, 3)}
    for kind in (numba.float32, numba.float64, numba.int32, numba.uint8, numba.uint32)
)
_BOOL = numba.types.Array(numba.boolean, 2, "C", readonly=True)


def _compiled(*signature: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Compile a function for arguments of these types now, or take what an earlier process kept."""

    def compile_it(function: Callable[..., Any]) -> Callable[..., Any]:
        compiled: Callable[..., Any]
        try:
            compiled = numba.njit([signature], cache=True, error_model="numpy")(function)
        except (RuntimeError, OSError):  # no folder can be written, or the disk is full: compiled by every process
            compiled = numba.njit([signature], error_model="numpy")(function)
        return compiled

    return compile_it


@_compiled(_F64[2], _I32[2], numba.int64, numba.boolean, numba.float64)
def rasterise(points, triangles, size, cull, edge):  # type: ignore[no-untyped-def]  # pragma: no cover
    """See `mimik.faces.mesh.rasterise.rasterise`; `edge` is its `EDGE`. Returns a raster's `triangle` and `weights`."""
    nearest = np.full(size * size, -np.inf)
    shown = np.full(size * size, -1, np.int32)
    spread = np.empty((size * size, 3), np.float32)
    across, down, constant = np.empty(3), np.empty(3), np.empty(3)
    covered = 0
    for number in range(len(triangles)):
        x0, y0, z0 = points[triangles[number, 0]]
        x1, y1, z1 = points[triangles[number, 1]]
        x2, y2, z2 = points[triangles[number, 2]]
        # Twice the area, positive when clockwise on the screen.
        area = (x1 - x0) * (y2 - y0) - (y1 - y0) * (x2 - x0)
        if not area > 0 and (cull or area == 0):
            continue
        # Weight k of a point is across[k] * x + down[k] * y + constant[k]: 1 at corner k, 0 on the opposite edge.
        across[0], down[0] = (y1 - y2) / area, (x2 - x1) / area
        across[1], down[1] = (y2 - y0) / area, (x0 - x2) / area
        across[2], down[2] = (y0 - y1) / area, (x1 - x0) / area
        constant[0] = -across[0] * x2 - down[0] * y2
        constant[1] = -across[1] * x0 - down[1] * y0
        constant[2] = -across[2] * x1 - down[2] * y1
        first_row = int(min(max(np.ceil(min(y0, y1, y2) - 0.5 - edge), 0.0), float(size)))
        last_row = int(min(max(np.floor(max(y0, y1, y2) - 0.5 + edge), -1.0), float(size - 1)))
        for row in range(first_row, last_row + 1):
            start, end = -np.inf, np.inf  # where no weight is negative
            for k in range(3):
                level = down[k] * (row + 0.5) + constant[k]
                if across[k] > 0:
                    start = max(start, -level / across[k])
                elif across[k] < 0:
                    end = min(end, -level / across[k])
                elif level < -1e-9:
                    start = np.inf
            first_column = int(min(max(np.ceil(start - 0.5 - edge), 0.0), float(size)))
            last_column = int(min(max(np.floor(end - 0.5 + edge), -1.0), float(size - 1)))
            for column in range(first_column, last_column + 1):
                x, y = column + 0.5, row + 0.5
                w0 = across[0] * x + down[0] * y + constant[0]
                w1 = across[1] * x + down[1] * y + constant[1]
                w2 = across[2] * x + down[2] * y + constant[2]
                depth = w0 * z0 + w1 * z1 + w2 * z2
                pixel = row * size + column
                if depth > nearest[pixel]:  # of triangles at exactly the same depth the first of the list wins
                    covered += shown[pixel] < 0
                    nearest[pixel], shown[pixel] = depth, number
                    spread[pixel, 0], spread[pixel, 1], spread[pixel, 2] = w0, w1, w2
    weights = np.empty((covered, 3), np.float32)
    position = 0
    for pixel in range(size * size):
        if shown[pixel] >= 0:
            weights[position] = spread[pixel]
            position += 1
    return shown.reshape(size, size), weights


@_compiled(_I32[2], _F32[2], _I32[2], _F32[2])
def interpolate(triangle, weights, triangles, values):  # type: ignore[no-untyped-def]  # pragma: no cover
    """See `mimik.faces.mesh.rasterise.interpolate`."""
    mixed = np.empty((len(weights), values.shape[1]), np.float32)
    position = 0
    for number in triangle.ravel():
        if number >= 0:
            a, b, c = triangles[number, 0], triangles[number, 1], triangles[number, 2]
            w0, w1, w2 = weights[position, 0], weights[position, 1], weights[position, 2]
            for k in range(values.shape[1]):
                mixed[position, k] = w0 * values[a, k] + w1 * values[b, k] + w2 * values[c, k]
            position += 1
    return mixed


@_compiled(_F32[1], _I32[2], numba.float32, numba.float32)
def encode_depth(depth, triangle, far, span):  # type: ignore[no-untyped-def]  # pragma: no cover
    """See `mimik.faces.mesh.rasterise.encode_depth`; `span` is how much nearer the nearest depth is than `far`."""
    picture = np.zeros(triangle.size, np.uint8)
    position = 0
    for pixel, number in enumerate(triangle.ravel()):
        if number >= 0:
            value = np.rint(np.float32(1.0) + np.float32(254.0) * (depth[position] - far) / span)
            picture[pixel] = np.uint8(min(max(value, np.float32(1.0)), np.float32(255.0)))
            position += 1
    return picture.reshape(triangle.shape)


@_compiled(_F32[2], _I32[2])
def encode_normals(normals, triangle):  # type: ignore[no-untyped-def]  # pragma: no cover
    """See `mimik.faces.mesh.rasterise.encode_normals`."""
    picture = np.zeros((triangle.size, 3), np.uint8)
    position = 0
    half = np.float32(127.5)
    for pixel, number in enumerate(triangle.ravel()):
        if number >= 0:
            x, y = normals[position, 0], normals[position, 1]
            z = max(normals[position, 2], np.float32(1e-6))
            scale = half / np.sqrt(x * x + y * y + z * z)
            picture[pixel, 0] = np.uint8(np.rint(x * scale + half))
            picture[pixel, 1] = np.uint8(np.rint(y * scale + half))
            picture[pixel, 2] = np.uint8(np.rint(z * scale + half))
            position += 1
    return picture.reshape(triangle.shape[0], triangle.shape[1], 3)


@_compiled(_I32[2], _U8[1], _BOOL, numba.int64, numba.uint8)
def part_mask(triangle, classes, inside, reach, ignored):  # type: ignore[no-untyped-def]  # pragma: no cover
    """See `mimik.faces.masks.part_mask`.

    Args:
        triangle, classes, inside: its raster's, and its own, arguments.
        reach: square of the largest whole distance in pixels that is still in the band, which gets `ignored`.
        ignored: the label of what is not known.
    """
    height, width = triangle.shape
    widest = int(np.sqrt(reach))
    # Distance to the next covered pixel of the same column, squared; columns beyond the picture have none.
    far = reach + 1
    squares = np.full((height, width + 2 * widest), far, np.int32)
    for x in range(width):
        since = widest + 1
        for y in range(height):
            since = 0 if triangle[y, x] >= 0 else since + 1
            if since <= widest:
                squares[y, x + widest] = since * since
        since = widest + 1
        for y in range(height - 1, -1, -1):
            since = 0 if triangle[y, x] >= 0 else since + 1
            if since <= widest:
                squares[y, x + widest] = min(squares[y, x + widest], since * since)
    mask = np.empty((height, width), np.uint8)
    least = np.empty(width, np.int32)
    for y in range(height):
        least[:] = far
        for step in range(2 * widest + 1):
            aside = np.int32((step - widest) ** 2)
            for x in range(width):
                least[x] = min(least[x], squares[y, x + step] + aside)
        for x in range(width):
            if not inside[y, x]:
                mask[y, x] = ignored
            elif triangle[y, x] >= 0:
                mask[y, x] = classes[triangle[y, x]]
            else:
                mask[y, x] = ignored if least[x] <= reach else 0
    return mask


@_compiled(_U8[3])
def packed(picture):  # type: ignore[no-untyped-def]  # pragma: no cover
    """uint8 (H, W, 3) as uint32 (H, W): red + green * 2**8 + blue * 2**16."""
    pixels = np.empty(picture.shape[:2], np.uint32)
    for y in range(len(picture)):
        for x in range(picture.shape[1]):
            red, green, blue = picture[y, x]
            pixels[y, x] = np.uint32(red) | np.uint32(green) << np.uint32(8) | np.uint32(blue) << np.uint32(16)
    return pixels


@_compiled(_U32[2], numba.int64)
def shrink_turned(pixels, length):  # type: ignore[no-untyped-def]  # pragma: no cover
    """One of two steps of what Pillow's `Image.resize` makes of a picture with `BICUBIC`, byte for byte.

    Args:
        pixels: (H, W), see `packed`.
        length: columns of the result, no more than `W`.

    Returns:
        uint32 (length, H): the picture with fewer columns, which become rows.
    """
    height, width = pixels.shape
    scale = width / length
    longest = int(np.ceil(2.0 * scale)) * 2 + 1
    firsts, counts = np.empty(length, np.int64), np.empty(length, np.int64)
    parts, share = np.empty((length, longest), np.int32), np.empty(longest)
    for number in range(length):
        centre = (number + 0.5) * scale
        first = max(int(centre - 2.0 * scale + 0.5), 0)
        count = min(int(centre + 2.0 * scale + 0.5), width) - first
        whole = 0.0
        for step in range(count):
            away = abs((step + first - centre + 0.5) * (1.0 / scale))
            if away < 1.0:
                share[step] = (1.5 * away - 2.5) * away * away + 1
            elif away < 2.0:
                share[step] = (((away - 5) * away + 8) * away - 4) * -0.5
            else:
                share[step] = 0.0
            whole += share[step]
        for step in range(count):
            weight = share[step] / whole * (1 << 22)
            parts[number, step] = np.int32(weight - 0.5 if weight < 0 else weight + 0.5)
        firsts[number], counts[number] = first, count

    result = np.empty((length, height), np.uint32)
    strip = 64  # rows at a time, which stay in the fast memory
    columns = np.empty((width, strip), np.uint32)
    red, green, blue = np.empty(strip, np.int32), np.empty(strip, np.int32), np.empty(strip, np.int32)
    byte = np.uint32(255)
    for top in range(0, height, strip):
        rows = min(strip, height - top)
        for x in range(width):
            for y in range(rows):
                columns[x, y] = pixels[top + y, x]
        for number in range(length):
            red[:], green[:], blue[:] = 1 << 21, 1 << 21, 1 << 21
            for step in range(counts[number]):
                part, column = parts[number, step], columns[firsts[number] + step]
                for y in range(rows):
                    value = column[y]
                    red[y] += np.int32(value & byte) * part
                    green[y] += np.int32((value >> np.uint32(8)) & byte) * part
                    blue[y] += np.int32((value >> np.uint32(16)) & byte) * part
            written = result[number, top : top + rows]
            for y in range(rows):
                low = np.uint32(min(max(red[y] >> 22, 0), 255))
                middle = np.uint32(min(max(green[y] >> 22, 0), 255))
                high = np.uint32(min(max(blue[y] >> 22, 0), 255))
                written[y] = low | middle << np.uint32(8) | high << np.uint32(16)
    return result


@_compiled(_U32[2], _F64[1], numba.int64)
def affine(pixels, matrix, size):  # type: ignore[no-untyped-def]  # pragma: no cover
    """What Pillow's `Image.transform` makes of an RGB picture with `AFFINE` and `BICUBIC`, byte for byte.

    Args:
        pixels: (H, W), see `packed`.
        matrix: (6,), pixels of the result to pixels of the picture, row by row.
        size: side of the result.

    Returns:
        uint8 (size, size, 3).
    """
    height, width = pixels.shape
    result = np.empty((size, size, 3), np.uint8)
    around = np.empty((4, 4, size), np.uint32)  # of every pixel of one row of the result
    aside, below = np.empty(size), np.empty(size)
    inside = np.empty(size, np.bool_)
    lines = np.empty((4, size))
    values = np.empty((3, size), np.uint8)
    for row in range(size):
        for column in range(size):
            x = matrix[0] * (column + 0.5) + matrix[1] * (row + 0.5) + matrix[2]
            y = matrix[3] * (column + 0.5) + matrix[4] * (row + 0.5) + matrix[5]
            inside[column] = 0.0 <= x < width and 0.0 <= y < height
            if not inside[column]:
                x, y = 0.5, 0.5
            left, top = np.floor(x - 0.5), np.floor(y - 0.5)
            aside[column], below[column] = x - 0.5 - left, y - 0.5 - top
            first, line = int(left) - 1, int(top) - 1
            if first >= 0 and first + 3 < width and line >= 0 and line + 3 < height:
                for i in range(4):
                    for j in range(4):
                        around[i, j, column] = pixels[line + i, first + j]
            else:
                for i in range(4):
                    for j in range(4):
                        around[i, j, column] = pixels[
                            min(max(line + i, 0), height - 1), min(max(first + j, 0), width - 1)
                        ]
        for channel in range(3):
            shift = np.uint32(8 * channel)
            for i in range(4):
                for column in range(size):
                    a = float(np.int32((around[i, 0, column] >> shift) & np.uint32(255)))
                    b = float(np.int32((around[i, 1, column] >> shift) & np.uint32(255)))
                    c = float(np.int32((around[i, 2, column] >> shift) & np.uint32(255)))
                    d = float(np.int32((around[i, 3, column] >> shift) & np.uint32(255)))
                    t = aside[column]
                    lines[i, column] = b + t * ((-a + c) + t * ((2 * (a - b) + c - d) + t * (-a + b - c + d)))
            for column in range(size):
                a, b, c, d = lines[0, column], lines[1, column], lines[2, column], lines[3, column]
                t = below[column]
                value = b + t * ((-a + c) + t * ((2 * (a - b) + c - d) + t * (-a + b - c + d)))
                values[channel, column] = np.uint8(np.int32(min(max(value, 0.0), 255.0)))
        for column in range(size):
            for channel in range(3):
                result[row, column, channel] = values[channel, column] if inside[column] else 0
    return result


@_compiled(numba.uint8[:, ::1], numba.uint8[:, ::1], numba.int64, numba.uint32, numba.uint32)
def _box_mean(lines, result, radius, share, rest):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Replace every line by the mean of the lines around it, in the whole numbers that Pillow takes for it.

    Args:
        lines: (L, M). Beyond the first and the last they go on.
        result: (L, M).
        radius: lines to either side that count as a whole.
        share, rest: what each of these contributes, and what the next one on both sides does, 2**-24.
    """
    last, width = len(lines) - 1, lines.shape[1]
    total = np.zeros(width, np.uint32)
    for step in range(-radius - 1, radius):
        line = lines[min(max(step, 0), last)]
        for k in range(width):
            total[k] = np.uint32(total[k] + np.uint32(line[k]))
    for number in range(last + 1):
        before, added = lines[max(number - radius - 1, 0)], lines[min(number + radius, last)]
        behind, written = lines[min(number + radius + 1, last)], result[number]
        for k in range(width):
            total[k] = np.uint32(total[k] + np.uint32(added[k]) - np.uint32(before[k]))
            ends = np.uint32(np.uint32(before[k]) + np.uint32(behind[k]))
            mean = np.uint32(np.uint32(total[k] * share) + np.uint32(ends * rest) + np.uint32(1 << 23))
            written[k] = np.uint8(mean >> np.uint32(24))


@_compiled(_U8[3], _F32[2], numba.float32, numba.int64, numba.uint32, numba.uint32)
def fade(picture, distance, strength, radius, share, rest):  # type: ignore[no-untyped-def]  # pragma: no cover
    """A picture that fades into its blur: what Pillow's `GaussianBlur` and `composite` make of it, byte for byte.

    Args:
        picture: (S, S, 3).
        distance: (S, S), 0 where nothing is blurred.
        strength: opacity of the blurred picture, 0 to 255, per `distance`.
        radius, share, rest: of the three means, see `_box_mean`.

    Returns:
        uint8 (S, S, 3).
    """
    size = len(picture)
    one, other = np.empty((size, 3 * size), np.uint8), np.empty((size, 3 * size), np.uint8)
    for x in range(size):  # columns become lines
        for y in range(size):
            for channel in range(3):
                one[x, 3 * y + channel] = picture[y, x, channel]
    _box_mean(one, other, radius, share, rest)
    _box_mean(other, one, radius, share, rest)
    _box_mean(one, other, radius, share, rest)
    for y in range(size):
        for x in range(size):
            for channel in range(3):
                one[y, 3 * x + channel] = other[x, 3 * y + channel]
    _box_mean(one, other, radius, share, rest)
    _box_mean(other, one, radius, share, rest)
    _box_mean(one, other, radius, share, rest)
    result = np.empty_like(picture)
    for y in range(size):
        for x in range(size):
            opacity = np.int32(min(max(distance[y, x] * strength, np.float32(0.0)), np.float32(255.0)))
            for channel in range(3):
                mixed = np.int32(picture[y, x, channel]) * (255 - opacity)
                mixed += np.int32(other[y, 3 * x + channel]) * opacity + 128
                result[y, x, channel] = np.uint8(((mixed >> 8) + mixed) >> 8)
    return result
