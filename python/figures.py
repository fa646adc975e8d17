"""Every plot of the project, in one style: made for print, readable at column width, safe for colour-blind eyes.

A function takes arrays and returns a matplotlib figure; experiment.Run.figure() saves it. The same thing has the same colour everywhere (COLOURS).
matplotlib is imported when the first figure is made and not before: it costs half a second, which --help should not.
"""
import math

import numpy as np

# Okabe & Ito's palette, told apart by colour-blind eyes
COLOURS = {
    'train': '#0072B2', 'valid': '#D55E00', 'test': '#009E73',
    'numpy': '#0072B2', 'torch': '#D55E00', 'sklearn': '#009E73', 'tesseract': '#CC79A7', 'limit': '#000000',
    'autoencoder': '#0072B2', 'PCA': '#D55E00', 'course': '#56B4E9',
    'sigmoid': '#0072B2', 'tanh': '#D55E00', 'relu': '#009E73',
    'right': '#009E73', 'wrong': '#D55E00',
}
SETS = {'train': 'training', 'valid': 'validation', 'test': 'test'}      # what legends call them
CYCLE = ['#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#000000']
STYLE = {
    'figure.dpi': 110, 'savefig.dpi': 160, 'savefig.bbox': 'tight', 'figure.constrained_layout.use': True,
    'font.size': 9, 'axes.titlesize': 9, 'axes.labelsize': 9, 'legend.fontsize': 8, 'xtick.labelsize': 8, 'ytick.labelsize': 8,
    'axes.spines.top': False, 'axes.spines.right': False, 'axes.grid': True, 'grid.alpha': 0.25, 'lines.linewidth': 1.5,
    'legend.frameon': False, 'image.cmap': 'gray', 'image.interpolation': 'nearest',
}


def colour(name, i=0):
    """The colour of the thing called name; the i-th of the palette where it has none of its own."""
    return COLOURS.get(name, CYCLE[i % len(CYCLE)])


def new(rows=1, columns=1, size=(4.4, 2.9), **kwargs):
    """A figure of rows x columns axes, size in inches, in the project's style. Returns (fig, axes) as pyplot.subplots does."""
    import matplotlib
    from matplotlib import pyplot
    matplotlib.rcParams.update(STYLE)
    matplotlib.rcParams['axes.prop_cycle'] = matplotlib.cycler(color=CYCLE)
    pyplot.close('all')         # a figure lives until the next is made, or, with --show, until the end
    return pyplot.subplots(rows, columns, figsize=size, **kwargs)


def curves(series, xlabel, ylabel, x=None, logy=False, ylim=None, title=None, marker=None):
    """Lines on one pair of axes. series: {label: values}; x: common abscissae (default 1, 2, ...)."""
    fig, ax = new()
    for i, (label, values) in enumerate(series.items()):
        ax.plot(np.arange(1, len(values) + 1) if x is None else x, values, label=label, color=colour(label, i),
                marker=marker or ('o' if len(values) == 1 else None))
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
    if x is None:
        ax.xaxis.get_major_locator().set_params(integer=True)
    if logy:
        ax.set_yscale('log')
    if ylim:
        ax.set_ylim(ylim)
    if len(series) > 1:
        ax.legend()
    return fig


def same_curves(series, xlabel, ylabel):
    """Curves that should coincide: the first wide and pale, the others dotted on top of it. series: {label: values}."""
    fig, ax = new()
    for i, (label, values) in enumerate(series.items()):
        marker = 'o' if len(values) == 1 else None          # a line of one point is invisible
        ax.plot(np.arange(1, len(values) + 1), values, label=label, color=colour(label, i), marker=marker, **(dict(ls=':') if i else dict(lw=5, alpha=0.35)))
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.legend()
    return fig


def panels(histories, keys, ylabel, titles, xlabel='epoch', logy=False):
    """Several runs beside each other on one scale, each to its own last epoch, in two rows if more than three.

    histories: list of {key: values per epoch}; keys: which of them to draw in each panel; titles: one per run
    """
    rows = 1 if len(histories) <= 3 else 2
    columns = -(-len(histories) // rows)
    fig, axes = new(rows, columns, size=(2.1 * columns + 0.6 if rows == 1 else 3 * columns + 0.4, 2.3 * rows), sharey=True, squeeze=False)
    for ax, history, title in zip(axes.flat, histories, titles):
        for i, key in enumerate(keys):
            ax.plot(np.arange(1, len(history[key]) + 1), history[key], label=SETS.get(key.split('_')[0], key), color=colour(key.split('_')[0], i))
        ax.set_title(title)
        ax.xaxis.get_major_locator().set_params(integer=True)
        if logy:
            ax.set_yscale('log')
    for ax in axes[:, 0]:
        ax.set_ylabel(ylabel)
    for ax in axes[-1]:
        ax.set_xlabel(xlabel)
    axes[0, 0].legend()
    return fig


def upright(x):
    """Rows as NIST36 stores them (N, side*side), or pictures (N, H, W), to upright pictures."""
    x = np.asarray(x)
    if x.ndim == 3:
        return x
    side = math.isqrt(x.shape[1])
    return x.reshape(-1, side, side).transpose(0, 2, 1)


def tile(pictures, columns, gap=1, fill=np.nan):
    """Pictures (N, H, W) in one array with columns per row and gap pixels between; empty places are fill."""
    n, h, w = pictures.shape
    rows = -(-n // columns)
    sheet = np.full((rows * (h + gap) - gap, columns * (w + gap) - gap), float(fill))
    for i, picture in enumerate(pictures):
        top, left = i // columns * (h + gap), i % columns * (w + gap)
        sheet[top:top + h, left:left + w] = picture
    return sheet


def image_grid(x, columns=8, symmetric=False, titles=None, colour_bar=False, size=None):
    """Small pictures in a grid, letters upright. x: (N, D) as stored or (N, H, W).

    symmetric   one diverging scale around 0 for all (weights, components); otherwise one grey scale from the least to the largest value
    titles      a word above each picture, in that case each has its own axes
    """
    pictures = upright(x)
    if symmetric:
        limit = np.abs(pictures).max() or 1
        look = dict(cmap='RdBu_r', vmin=-limit, vmax=limit)
    else:
        look = dict(cmap='gray', vmin=pictures.min(), vmax=pictures.max())
    rows = -(-len(pictures) // columns)
    if titles is None:
        fig, ax = new(size=size or (0.62 * columns + (0.7 if colour_bar else 0), 0.62 * rows))
        shown = ax.imshow(tile(pictures, columns), **look)
        ax.axis('off')
        if colour_bar:
            fig.colorbar(shown, ax=ax, fraction=0.04, pad=0.02)
        return fig
    fig, axes = new(rows, columns, size=size or (0.75 * columns, 0.95 * rows), squeeze=False)
    for ax in axes.flat:
        ax.axis('off')
    for ax, picture, title in zip(axes.flat, pictures, titles):
        ax.imshow(picture, **look)
        ax.set_title(title)
    return fig


def grids(pictures, columns=8):
    """Grids of small pictures side by side on one symmetric colour scale, letters upright: {title: (N, D) as stored, or (N, H, W)}."""
    sheets = {title: tile(upright(x), columns) for title, x in pictures.items()}
    limit = max(np.nanmax(np.abs(sheet)) for sheet in sheets.values()) or 1
    fig, axes = new(1, len(sheets), size=(3.6 * len(sheets) + 0.6, 3.8), squeeze=False)
    for ax, (title, sheet) in zip(axes[0], sheets.items()):
        shown = ax.imshow(sheet, cmap='RdBu_r', vmin=-limit, vmax=limit)
        ax.set_title(title)
        ax.axis('off')
    fig.colorbar(shown, ax=axes, fraction=0.03, pad=0.02)
    return fig


def side_by_side(**rows):
    """One row of pictures per name, aligned in columns: side_by_side(original=x, PCA=y), each (N, D) as stored; grey scale 0..1."""
    pictures = {name: upright(x) for name, x in rows.items()}
    columns = len(next(iter(pictures.values())))
    fig, axes = new(len(pictures), 1, size=(0.62 * columns + 1, 0.66 * len(pictures)), squeeze=False)
    for ax, (name, row) in zip(axes[:, 0], pictures.items()):
        ax.imshow(tile(np.clip(row, 0, 1), columns, fill=1), vmin=0, vmax=1)
        ax.set_ylabel(name, rotation=0, ha='right', va='center')
        ax.set(xticks=[], yticks=[])
        ax.grid(False)
        for spine in ax.spines.values():
            spine.set_visible(False)
    return fig


def colour_grid(pictures, columns=8, titles=None, right=None):
    """Colour pictures (N, H, W, 3), 0..1, in a grid. titles: words above each; right: for each, whether its title is in the colour of right or of wrong."""
    rows, wide = -(-len(pictures) // columns), 0.45 if titles is None else 1.15
    fig, axes = new(rows, columns, size=(wide * columns, (wide if titles is None else 1.5) * rows), squeeze=False)
    for ax in axes.flat:
        ax.axis('off')
    for i, (ax, picture) in enumerate(zip(axes.flat, pictures)):
        ax.imshow(picture)
        if titles is not None:
            ax.set_title(titles[i], fontsize=6.5, color='black' if right is None else COLOURS['right' if right[i] else 'wrong'])
    return fig


def confusion(matrix, classes):
    """Confusion matrix, rows true and columns predicted, as the fraction of each row; classes name both axes."""
    matrix = np.asarray(matrix, float)
    fraction = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side = max(3.5, 0.135 * len(classes) + 1.2)
    fig, ax = new(size=(side + 0.6, side))
    shown = ax.imshow(fraction ** 0.5, cmap='viridis', vmin=0, vmax=1)     # the root brings out the rare confusions
    ax.set(xlabel='predicted', ylabel='true', xticks=range(len(classes)), yticks=range(len(classes)))
    ax.set_xticklabels(list(classes), fontsize=8)
    ax.set_yticklabels(list(classes), fontsize=8)
    ax.grid(False)
    bar = fig.colorbar(shown, ax=ax, fraction=0.046, pad=0.03, label='fraction of the true class')
    ticks = np.array([0, 0.01, 0.05, 0.2, 0.5, 1])
    bar.set_ticks(ticks ** 0.5, labels=[f'{t:g}' for t in ticks])
    return fig


def decision_regions(x, labels, classify, names=None):
    """Points (N, 2) of each class on the regions that classify((M, 2)) -> (M,) gives them; question 2."""
    fig, ax = new(size=(5.2, 3.2))
    low, high = x.min(axis=0), x.max(axis=0)
    margin = 0.08 * (high - low)
    gx, gy = np.meshgrid(*(np.linspace(a, b, 300) for a, b in zip(low - margin, high + margin)))
    regions = classify(np.column_stack([gx.ravel(), gy.ravel()])).reshape(gx.shape)
    classes = labels.max() + 1
    ax.contourf(gx, gy, regions, levels=np.arange(classes + 1) - 0.5, colors=CYCLE[:classes], alpha=0.25)
    for c, marker in zip(range(classes), 'osD^v<>'):
        ax.scatter(*x[labels == c].T, s=22, marker=marker, color=CYCLE[c], edgecolor='white', linewidth=0.5, label=f'class {c}' if names is None else names[c])
    ax.set(xlabel='first coordinate', ylabel='second coordinate')
    ax.legend(loc='center left', bbox_to_anchor=(1, 0.5))
    ax.grid(False)
    return fig


def page(image, rows, title=None):
    """A photo with the box of each character, numbered in reading order, a colour for each row, and a line through the row. rows: list of boxes (k, 4)."""
    step = max(1, max(image.shape[:2]) // 1600)
    fig, ax = new(size=(6.4, max(1.2, 6.4 * image.shape[0] / image.shape[1])))
    ax.imshow(image[::step, ::step], extent=(0, image.shape[1], image.shape[0], 0), vmin=0, vmax=1, interpolation='antialiased')
    number, height = 0, np.median([box[2] - box[0] for row in rows for box in row]) if len(rows) else 1
    size = float(np.clip(90 * height / image.shape[1], 3.5, 8))
    for i, row in enumerate(rows):
        tint = CYCLE[i % (len(CYCLE) - 1)]          # all but black, which is the ink's
        ax.plot((row[:, 1] + row[:, 3]) / 2, (row[:, 0] + row[:, 2]) / 2, color=tint, linewidth=0.6, alpha=0.5)
        for y1, x1, y2, x2 in row:
            number += 1
            ax.plot([x1, x2, x2, x1, x1], [y1, y1, y2, y2, y1], color=tint, linewidth=0.8)
            ax.text(x1, y1, number, color=tint, fontsize=size, va='bottom', ha='left', clip_on=True)
    ax.set(xlim=(0, image.shape[1]), ylim=(image.shape[0], 0), title=title)
    ax.axis('off')
    return fig


def lines_of_crops(crops, lines):
    """Crops (n, s, s) in reading order, each above what it was read as: a row of pictures for every line of text, a gap for every space."""
    side, gap = crops.shape[1], 2
    cell, columns = side + gap, max(map(len, lines))
    down = side + side // 2                                     # room for the letter below
    sheet = np.full((len(lines) * down, columns * cell), np.nan)
    fig, ax = new(size=(max(2.5, min(6.4, 0.42 * columns)), max(2.5, min(6.4, 0.42 * columns)) * sheet.shape[0] / sheet.shape[1] + 0.1))
    size, n = min(8, 150 / columns), 0
    for i, line in enumerate(lines):
        for j, letter in enumerate(line):
            if letter != ' ':
                sheet[i * down:i * down + side, j * cell:j * cell + side] = crops[n]
                ax.text(j * cell + side / 2, i * down + 1.22 * side, letter, ha='center', va='center', fontsize=size)
                n += 1
    ax.imshow(sheet, cmap='gray', vmin=min(0, crops.min()), vmax=max(1, crops.max()))
    ax.axis('off')
    return fig


BENCHMARK_COLOURS = {'this project': 'numpy', "the course's loop": 'course', 'scikit-learn': 'sklearn', 'PyTorch': 'torch', 'matrix products alone': 'limit',
                     'Tesseract': 'tesseract'}


def bars(names, panels, log=False):
    """Groups of bars, one group for each of names; panels under each other: {label of the y axis: {label: one value for each name, nan for none}}."""
    fig, axes = new(len(panels), 1, size=(max(4.4, 0.8 * len(names)), 2.5 * len(panels)), squeeze=False, sharex=True)
    for ax, (ylabel, series) in zip(axes[:, 0], panels.items()):
        width = 0.8 / len(series)
        for i, (label, values) in enumerate(series.items()):
            at = np.arange(len(names)) + (i - (len(series) - 1) / 2) * width
            ax.bar(at, values, width, label=label, color=colour(BENCHMARK_COLOURS.get(label, label), i))
        ax.set(ylabel=ylabel, xticks=range(len(names)))
        ax.set_xticklabels(names)
        ax.grid(axis='x', visible=False)
        if log:
            ax.set_yscale('log')
    axes[0, 0].legend(ncols=3, loc='lower center', bbox_to_anchor=(0.5, 1))
    return fig


def growth(panels):
    """Seconds and memory against a size, both on logarithmic scales: {label of the x axis: {size: {'seconds', 'beyond_mb'}}}."""
    fig, axes = new(2, len(panels), size=(2.4 * len(panels) + 0.6, 4.2), squeeze=False, sharex='col')
    for column, (xlabel, found) in zip(axes.T, panels.items()):
        sizes = np.array(list(found), float)
        for ax, key, name in zip(column, ('seconds', 'beyond_mb'), ('train', 'valid')):
            values = np.maximum([r[key] for r in found.values()], 0.1 if key == 'beyond_mb' else 0)
            ax.plot(sizes, values, 'o-', color=colour(name))
            ax.set(xscale='log', yscale='log')
            ax.set_xticks(sizes, labels=[f'{size:g}' for size in sizes])
            ticks = [m * 10.0**e for e in range(-3, 5) for m in (1, 3)]
            ax.set_yticks(ticks, labels=[f'{tick:g}' for tick in ticks])
            ax.minorticks_off()
            ax.set_ylim(values.min() / 3, values.max() * 3)
        column[0].plot(sizes, column[0].lines[0].get_ydata()[-1] * sizes / sizes[-1], ':', color='black', label='in proportion')
        column[1].set(xlabel=xlabel)
    axes[0, 0].set_ylabel('seconds')
    axes[1, 0].set_ylabel('MB beyond the data')
    axes[0, 0].legend()
    return fig
