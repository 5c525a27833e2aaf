use std::io::{Cursor, ErrorKind};
use std::path::Path;

use image::codecs::jpeg::JpegDecoder;
use image::codecs::png::PngDecoder;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, Limits};

use crate::{DataError, file};

/// The longest side of a picture that is decoded, in pixels.
pub const MAX_SIDE: usize = 32_768;

/// The most pixels of a picture that is decoded or resized.
pub const MAX_PIXELS: usize = 256 << 20;

/// The largest file that is read, in bytes.
pub const MAX_FILE: u64 = 1 << 30;

/// What a decoder may allocate beside the picture itself (rows, text, colour profiles), in bytes.
const MAX_OVERHEAD: u64 = 64 << 20;

/// The most pixels that a byte of a file can stand for: deflate writes up to 1,032 bytes for one, a
/// byte of a black and white PNG has 8 pixels. (In JPEG it is 512, a bit for 8×8 pixels.)
const MAX_PIXELS_A_BYTE: usize = 8 * 1_032;

/// Bytes from 0 to 255, row by row from the top, the channels of a pixel side by side. There is at
/// least one pixel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    width: usize,
    height: usize,
    colour: Colour,
    bytes: Vec<u8>,
}

/// The channels of a [`Picture`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// One byte a pixel.
    Grey,
    /// Red, green, blue.
    Rgb,
}

impl Colour {
    /// Bytes a pixel: 1 or 3.
    pub fn channels(self) -> usize {
        match self {
            Colour::Grey => 1,
            Colour::Rgb => 3,
        }
    }
}

impl Picture {
    /// A picture of `width · height · channels` bytes.
    ///
    /// # Errors
    /// [`DataError::Malformed`] if there are more or fewer bytes or no pixel,
    /// [`DataError::TooLarge`] beyond [`MAX_PIXELS`].
    pub fn new(
        [height, width]: [usize; 2],
        colour: Colour,
        bytes: Vec<u8>,
    ) -> Result<Picture, DataError> {
        check_pixels("a picture", [height, width])?;
        let wanted = width * height * colour.channels();
        if bytes.len() != wanted || wanted == 0 {
            return Err(DataError::Malformed {
                place: "a picture".to_owned(),
                found: format!("{} bytes for {width}×{height} pixels", bytes.len()),
                expected: format!("{} bytes a pixel, and at least one", colour.channels()),
            });
        }
        Ok(Picture { width, height, colour, bytes })
    }

    /// Pixels in a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Height and width, the order in which sizes are written in an `InputSpec`.
    pub fn size(&self) -> [usize; 2] {
        [self.height, self.width]
    }

    /// Which channels.
    pub fn colour(&self) -> Colour {
        self.colour
    }

    /// All bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes of one row.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row(&self, y: usize) -> &[u8] {
        let stride = self.width * self.colour.channels();
        &self.bytes[y * stride..][..stride]
    }

    /// The same with left and right exchanged.
    pub fn mirrored(&self) -> Picture {
        let pixels = |y| self.row(y).rchunks_exact(self.colour.channels());
        self.with_bytes((0..self.height).flat_map(pixels).flatten().copied().collect())
    }

    /// Black and white exchanged.
    pub(crate) fn inverted(&self) -> Picture {
        self.with_bytes(self.bytes.iter().map(|byte| 255 - byte).collect())
    }

    /// Other bytes, as many, in the same size.
    pub(crate) fn with_bytes(&self, bytes: Vec<u8>) -> Picture {
        debug_assert_eq!(bytes.len(), self.bytes.len(), "bytes of another size");
        Picture { bytes, ..*self }
    }

    /// The piece of `size` (height, width) whose first pixel is at `at` (row, column), all inside.
    pub(crate) fn cut(&self, [top, left]: [usize; 2], [height, width]: [usize; 2]) -> Picture {
        let channels = self.colour.channels();
        let piece = |y| &self.row(y)[left * channels..][..width * channels];
        let bytes = (top..top + height).flat_map(piece).copied().collect();
        Picture { width, height, colour: self.colour, bytes }
    }
}

/// Reads a PNG or JPEG file; which of the two, its content says and not its name.
///
/// As torchvision's loader (Pillow's `convert("RGB")`): the result has three channels, alpha is
/// dropped and not blended with anything, of 16 bits the high byte is kept, colour profiles and
/// gamma are ignored, CMYK and YCCK become RGB by `(255 − ink)(255 − black) / 255`. Other than
/// torchvision's, it turns the picture as its EXIF orientation says, so that the network sees what
/// people see, and keeps the high byte of 16-bit grey too, where Pillow makes all above 255 white.
///
/// # Errors
/// [`DataError::Io`]; [`DataError::Unsupported`] for a directory, a device, another format than
/// the two, a rare kind of JPEG; [`DataError::Malformed`] for a damaged or truncated file;
/// [`DataError::TooLarge`] beyond [`MAX_SIDE`], [`MAX_PIXELS`], [`MAX_FILE`];
/// [`DataError::Empty`] for a file without content.
pub fn open(path: &Path) -> Result<Picture, DataError> {
    decode(&file::read(path, MAX_FILE)?, &path.display().to_string())
}

/// [`open`] for the bytes of a file; `name` is what error messages call them.
///
/// # Errors
/// As [`open`], without [`DataError::Io`].
pub fn decode(bytes: &[u8], name: &str) -> Result<Picture, DataError> {
    if bytes.is_empty() {
        return Err(DataError::Empty {
            place: name.to_owned(),
            found: "0 bytes".to_owned(),
            expected: "a PNG or JPEG picture: copy or download it again".to_owned(),
        });
    }
    let format = image::guess_format(bytes).ok();
    let failed = |error| explain(error, name);
    if format == Some(ImageFormat::Png) {
        let mut limits = Limits::no_limits();
        limits.max_alloc = Some(MAX_OVERHEAD);
        let decoder = PngDecoder::with_limits(Cursor::new(bytes), limits).map_err(failed)?;
        finish(decoder, bytes.len(), name)
    } else if format == Some(ImageFormat::Jpeg) {
        let decoder = JpegDecoder::new(Cursor::new(bytes)).map_err(failed)?;
        if !reaches_end(bytes) {
            return Err(malformed(name, "a JPEG without its end".to_owned()));
        }
        finish(decoder, bytes.len(), name)
    } else {
        let found = match format {
            Some(other) => format!("a picture of format {}", other.to_mime_type()),
            None => {
                format!("no picture, its first bytes are {:02x?}", &bytes[..bytes.len().min(8)])
            }
        };
        Err(DataError::Unsupported {
            place: name.to_owned(),
            found,
            expected: "PNG or JPEG: convert it to one of them".to_owned(),
        })
    }
}

fn finish(
    mut decoder: impl ImageDecoder,
    file_length: usize,
    name: &str,
) -> Result<Picture, DataError> {
    let (width, height) = decoder.dimensions();
    let [height, width] = [height as usize, width as usize];
    if width.max(height) > MAX_SIDE {
        return Err(DataError::TooLarge {
            place: name.to_owned(),
            found: format!("a picture of {width}×{height} pixels"),
            limit: format!("{MAX_SIDE} pixels a side: shrink it first"),
        });
    }
    check_pixels(name, [height, width])?;
    if width * height / MAX_PIXELS_A_BYTE > file_length {
        return Err(malformed(name, format!("{width}×{height} pixels in {file_length} bytes")));
    }
    // A broken EXIF block is no reason to refuse the picture.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder).map_err(|error| explain(error, name))?;
    image.apply_orientation(orientation);
    let [height, width] = [image.height() as usize, image.width() as usize];
    let colour = image.color();
    let bytes = if colour.bytes_per_pixel() == 2 * colour.channel_count() {
        image.into_rgb16().into_raw().into_iter().map(|value| (value >> 8) as u8).collect()
    } else {
        image.into_rgb8().into_raw()
    };
    Picture::new([height, width], Colour::Rgb, bytes)
}

/// Refuses a picture of more than [`MAX_PIXELS`], before anything is allocated for it.
pub(crate) fn check_pixels(place: &str, [height, width]: [usize; 2]) -> Result<(), DataError> {
    if height.checked_mul(width).is_some_and(|pixels| pixels <= MAX_PIXELS) {
        return Ok(());
    }
    Err(DataError::TooLarge {
        place: place.to_owned(),
        found: format!("a picture of {width}×{height} pixels"),
        limit: format!("{MAX_PIXELS} pixels: shrink or crop it first"),
    })
}

/// Whether a JPEG reaches its end-of-image marker. The decoder accepts one that does not and fills
/// the rest with grey; what a half-copied photograph shows would then depend on nothing but chance.
fn reaches_end(jpeg: &[u8]) -> bool {
    const END: u8 = 0xd9;
    // Markers that no segment follows, and what stands for a byte 0xff in compressed data.
    let alone = |marker: u8| matches!(marker, 0x00 | 0x01 | 0xd0..=0xd8);
    let mut rest = jpeg;
    while let Some(at) = rest.iter().position(|&byte| byte == 0xff) {
        match rest[at + 1..] {
            [END, ..] => return true,
            [0xff, ..] => rest = &rest[at + 1..],
            [marker, ..] if alone(marker) => rest = &rest[at + 2..],
            [_, high, low, ..] => {
                let length = usize::from(u16::from_be_bytes([high, low]));
                rest = rest.get(at + 2 + length..).unwrap_or_default();
            }
            [] | [_] | [_, _] => return false,
        }
    }
    false
}

fn malformed(name: &str, found: String) -> DataError {
    let expected = "a whole picture: copy or download it again".to_owned();
    DataError::Malformed { place: name.to_owned(), found, expected }
}

fn explain(error: ImageError, name: &str) -> DataError {
    let place = name.to_owned();
    let found = error.to_string();
    if let ImageError::Unsupported(_) = error {
        let expected = "an ordinary PNG or JPEG: save it again with another program".to_owned();
        DataError::Unsupported { place, found, expected }
    } else if let ImageError::Limits(_) = error {
        let limit = format!("{MAX_SIDE} pixels a side and {MAX_OVERHEAD} bytes of other content");
        DataError::TooLarge { place, found, limit }
    } else if let ImageError::IoError(io) = &error
        && io.kind() == ErrorKind::UnexpectedEof
    {
        malformed(name, "a picture that ends too early".to_owned())
    } else {
        malformed(name, found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_picture_is_named() {
        let cases: [(&[u8], &str); 4] = [
            (b"", "0 bytes"),
            (b"hello, world", "68, 65, 6c"),
            (b"GIF89a\x01\x00\x01\x00", "image/gif"),
            (b"\x89PNG\r\n\x1a\n", "ends too early"),
        ];
        for (bytes, said) in cases {
            let message = decode(bytes, "upload").unwrap_err().to_string();
            assert!(message.starts_with("upload: ") && message.contains(said), "{message}");
        }
    }

    #[test]
    fn sizes_are_limits_before_they_are_allocations() {
        for (width, height) in [(40_000u32, 1u32), (u32::MAX >> 1, u32::MAX >> 1), (20_000, 20_000)]
        {
            let error = decode(&png_header(width, height), "bomb").unwrap_err();
            assert!(matches!(error, DataError::TooLarge { .. }), "{width}×{height}: {error}");
        }
    }

    /// A PNG of the given size whose pixels are missing.
    fn png_header(width: u32, height: u32) -> Vec<u8> {
        let mut head = b"IHDR".to_vec();
        head.extend([width.to_be_bytes(), height.to_be_bytes()].concat());
        head.extend([8, 2, 0, 0, 0]);
        let mut png = b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0d".to_vec();
        png.extend(&head);
        let mut crc = flate2::Crc::new();
        crc.update(&head);
        png.extend(crc.sum().to_be_bytes());
        png.extend(b"\x00\x00\x00\x00IDAT\x35\xaf\x06\x1e");
        png
    }

    #[test]
    fn a_jpeg_ends_where_its_marker_is_not_inside_a_segment() {
        assert!(reaches_end(&[0xff, 0xd8, 0xff, 0xda, 0, 2, 7, 0xff, 0x00, 0xff, 0xd9]));
        assert!(!reaches_end(&[0xff, 0xd8, 0xff, 0xe1, 0, 4, 0xff, 0xd9, 1, 2]));
        assert!(!reaches_end(&[0xff, 0xd8, 0xff]));
    }

    #[test]
    fn pieces_and_mirrors() {
        let bytes = (0..12).collect();
        let picture = Picture::new([2, 2], Colour::Rgb, bytes).unwrap();
        assert_eq!(picture.mirrored().bytes(), [3, 4, 5, 0, 1, 2, 9, 10, 11, 6, 7, 8]);
        assert_eq!(picture.cut([1, 1], [1, 1]).bytes(), [9, 10, 11]);
        assert_eq!(picture.inverted().row(0)[..2], [255, 254]);
        assert!(Picture::new([2, 2], Colour::Grey, vec![0; 3]).is_err());
        assert!(Picture::new([0, 2], Colour::Grey, vec![]).is_err());
        assert!(Picture::new([usize::MAX, 2], Colour::Grey, vec![]).is_err());
    }
}
